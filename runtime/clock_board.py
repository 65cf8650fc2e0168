"""The offset of the arm's clock, measured by one process of a run and read by all."""

from __future__ import annotations

import numpy as np

from dvla.bindings import SharedRing
from dvla.runtime.clock_offset import SAME_CLOCK, ClockOffset

_ROW_BYTES = 32


class ClockBoard:
    """Holds the newest ``ClockOffset``; before the first there is one clock.

    Args:
        ring: made by ``create``, or attached to.
    """

    def __init__(self, ring: SharedRing) -> None:
        self.ring = ring
        self._row = np.zeros(4, np.int64)
        self._bytes = self._row.view(np.uint8)
        self._sequence = 0
        self._offset = SAME_CLOCK

    @staticmethod
    def create() -> ClockBoard:
        """Make an empty board."""
        return ClockBoard(SharedRing.create(_ROW_BYTES, 4))

    def publish(self, offset: ClockOffset) -> None:
        """Put up what is known now."""
        self._row[:] = offset.offset_ns, offset.bound_ns, offset.t_ns, offset.drift_ppb
        self.ring.publish(self._bytes, offset.t_ns)

    @property
    def offset(self) -> ClockOffset:
        """The newest offset."""
        newest = self.ring.newest
        if newest != self._sequence and self.ring.read(newest, self._bytes) is not None:
            self._sequence = newest
            offset_ns, bound_ns, t_ns, drift_ppb = self._row.tolist()
            self._offset = ClockOffset(
                offset_ns=offset_ns, bound_ns=bound_ns, t_ns=t_ns, drift_ppb=drift_ppb
            )
        return self._offset
