"""The gripper's decision: open or closed, with hysteresis and dwell."""

from __future__ import annotations

OPEN_AT, CLOSE_AT = 0.2, -0.2
DWELL_S = 0.2
"""Shortest time between two decisions; the jaws need about as long to let go of an object."""


class GripperLatch:
    """Turns openings in [-1, 1] into decisions; between the thresholds the last one stays."""

    def __init__(self) -> None:
        self._open: bool | None = None
        self._decided_ns = 0

    def reset(self) -> None:
        """Forget the decision: the gripper stays where it is until an opening asks for one."""
        self._open = None

    def decide(self, opening: float, now_ns: int) -> bool | None:
        """Return whether the gripper shall be open, closed, or (None) stay as it was found."""
        if opening >= OPEN_AT:
            wanted = True
        elif opening <= CLOSE_AT:
            wanted = False
        else:
            return self._open
        settled = self._open is None or now_ns - self._decided_ns >= DWELL_S * 1e9
        if wanted != self._open and settled:
            self._open, self._decided_ns = wanted, now_ns
        return self._open
