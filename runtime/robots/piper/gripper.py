"""The gripper: open or closed, with hysteresis and dwell; commanded, never waited for."""

from __future__ import annotations

from dvla.runtime.robots.piper.kinematics import GRIPPER_STROKE_M
from dvla.runtime.robots.piper.protocol import Frame, gripper_frame

OPEN_AT, CLOSE_AT = 0.2, -0.2
DWELL_S = 0.2
"""Shortest time between two decisions; the jaws need about as long to let go of an object."""
REFRESH_S = 0.04
"""A decision is said again that often; frames get lost."""


class GripperLatch:
    """Turns openings in [-1, 1] into decisions, and decisions into frames.

    Args:
        effort_nm: most torque of the jaws.
    """

    def __init__(self, effort_nm: float) -> None:
        self._frames = {
            True: gripper_frame(GRIPPER_STROKE_M, effort_nm),
            False: gripper_frame(0.0, effort_nm),
        }
        self.reset()

    def reset(self) -> None:
        """Forget the decision: the gripper stays where it is until an opening asks for one."""
        self._open: bool | None = None
        self._decided_ns = 0
        self._due_ns = 0

    def decide(self, opening: float, now_ns: int) -> bool | None:
        """Return whether the gripper shall be open, closed, or (None) stay as it was found.

        Between the two thresholds, and within the dwell, the last decision stays.
        """
        wanted = True if opening >= OPEN_AT else False if opening <= CLOSE_AT else self._open
        settled = self._open is None or now_ns - self._decided_ns >= DWELL_S * 1e9
        if wanted != self._open and settled:
            self._open, self._decided_ns, self._due_ns = wanted, now_ns, now_ns
        return self._open

    def frame(self, opening: float, now_ns: int) -> Frame | None:
        """Return the frame to send for an opening now, or None when none is due."""
        decision = self.decide(opening, now_ns)
        if decision is None or now_ns < self._due_ns:
            return None
        self._due_ns = now_ns + int(REFRESH_S * 1e9)
        return self._frames[decision]
