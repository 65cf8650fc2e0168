"""One segment of a loop: when its ticks were due, began and ended."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

WARM_UP_S = 0.1
"""At the start of each segment, not counted."""


class Segment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ticks of one segment on the host's monotonic clock.

    Attributes:
        period_ns: of the loop.
        deadline_ns / woke_ns: (n,) of every served tick.
        dispatched_ns: (n,) when the command was ready; empty for a loop that makes none.
        overruns: deadlines that had passed before the loop came to wait for them.
        setup: what the kernel granted.
    """

    period_ns: int
    deadline_ns: tuple[int, ...]
    woke_ns: tuple[int, ...]
    dispatched_ns: tuple[int, ...]
    overruns: int
    setup: str

    @property
    def wake_us(self) -> NDArray[np.float64]:
        """(n,) waking minus deadline [us]."""
        return np.asarray((np.array(self.woke_ns) - np.array(self.deadline_ns)) / 1e3)

    @property
    def dispatch_us(self) -> NDArray[np.float64]:
        """(n,) end of the tick minus deadline [us]; of a loop that makes no command, its waking."""
        return np.asarray((self._end_ns - np.array(self.deadline_ns)) / 1e3)

    @property
    def busy_us(self) -> NDArray[np.float64]:
        """(n,) from waking to the end of the tick [us]."""
        return np.asarray((self._end_ns - np.array(self.woke_ns)) / 1e3)

    @property
    def jitter_us(self) -> NDArray[np.float64]:
        """Distance of successive dispatches from their deadlines' distance, absolute [us].

        Where deadlines were skipped, the distance is a larger multiple of the period; the skip
        itself is counted as overruns and not as jitter.
        """
        return np.asarray(
            np.abs(np.diff(self._end_ns) - np.diff(np.array(self.deadline_ns))) / 1e3, np.float64
        )

    @property
    def _end_ns(self) -> NDArray[np.int64]:
        return np.array(self.dispatched_ns or self.woke_ns, np.int64)
