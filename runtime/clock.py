"""Clocks: only the pacer and the ``main`` functions read one; everything else takes ``now_ns``."""

from __future__ import annotations

import time

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


def monotonic_ns() -> int:
    """Return the host's monotonic time [ns]."""
    return time.monotonic_ns()


class VirtualClock:
    """A clock that moves only when told, so that closed loops are reproducible.

    Args:
        start_ns: first reading.
    """

    def __init__(self, start_ns: int = 1_000 * NS_PER_S) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return the virtual time [ns]."""
        return self._now_ns

    def advance_to(self, t_ns: int) -> None:
        """Move forward to ``t_ns``; time never goes back."""
        if t_ns < self._now_ns:
            raise ValueError(f"virtual time cannot go back from {self._now_ns} to {t_ns}")
        self._now_ns = t_ns
