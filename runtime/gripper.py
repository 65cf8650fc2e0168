"""The gripper's decisions: open or closed, with hysteresis and dwell, for every arm alike.

The opening that a commander asks for is a number in [-1, 1] that a network made, and may hover
around 0; fingers that follow it chatter and lose what they hold. So the arm controller makes
decisions of it before any driver hears of it: +1, -1, or, before the first one, the opening as it
was found. A driver turns decisions into what its gripper understands and adds nothing.
"""

from __future__ import annotations

from dvla.runtime.limits import GripperLimits

OPEN, CLOSED = 1.0, -1.0
FOUND = 1.0 - 1e-7
"""An opening as found is within these bounds: it is never taken for a decision."""
OTHER = 1e-8
"""Openings that differ by less are the same; the way from one to another passes all between."""


class GripperLatch:
    """Makes decisions of openings.

    Args:
        limits: hysteresis and dwell.
        found: opening of the gripper in [-1, 1] as it is.
    """

    def __init__(self, limits: GripperLimits, found: float) -> None:
        self._limits = limits
        self._dwell_ns = int(limits.dwell_s * 1e9)
        self.find(found)

    def find(self, found: float) -> None:
        """Forget all decisions: the gripper stays as it is, until an opening asks for another.

        Whoever repeats the opening as found, as a servo does that stands still, asks for nothing.
        So the first decision to open takes an opening above what was found, as well as above the
        hysteresis, and the first one to close takes one below.
        """
        self.opening = min(FOUND, max(-FOUND, found))
        margin = self._limits.hysteresis
        self._open_at = max(margin, self.opening + OTHER)
        self._close_at = min(-margin, self.opening - OTHER)
        self._free_ns: int | None = None

    def decide(self, asked: float, now_ns: int) -> float:
        """Return what the gripper shall do now that an opening is asked for.

        Between the two thresholds, and within the dwell, the last decision stays.

        Args:
            asked: in [-1, 1].
            now_ns: the time.

        Returns:
            ``OPEN``, ``CLOSED``, or the opening as found before the first decision.
        """
        wanted = self.opening
        if asked >= self._open_at:
            wanted = OPEN
        elif asked <= self._close_at:
            wanted = CLOSED
        if wanted != self.opening and (self._free_ns is None or now_ns >= self._free_ns):
            self.opening = wanted
            self._open_at, self._close_at = self._limits.hysteresis, -self._limits.hysteresis
            self._free_ns = now_ns + self._dwell_ns
        return self.opening
