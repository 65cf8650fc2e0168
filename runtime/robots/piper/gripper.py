"""The gripper of a PiPER: decisions of the arm controller as frames, said again and again."""

from __future__ import annotations

from dvla.runtime.gripper import CLOSED, OPEN
from dvla.runtime.robots.piper.kinematics import GRIPPER_STROKE_M
from dvla.runtime.robots.piper.protocol import Frame, gripper_frame

REFRESH_S = 0.04
"""A decision is said again that often; frames get lost."""


class GripperFrames:
    """Says decisions (``dvla.runtime.gripper``) on the bus; an opening as found is none.

    Args:
        effort_nm: most torque of the jaws.
    """

    def __init__(self, effort_nm: float) -> None:
        self._frames = {
            OPEN: gripper_frame(GRIPPER_STROKE_M, effort_nm),
            CLOSED: gripper_frame(0.0, effort_nm),
        }
        self._said = 0.0
        self._due_ns = 0

    def frame(self, opening: float, now_ns: int) -> Frame | None:
        """Return the frame to send for an opening now, or None when none is due."""
        frame = self._frames.get(opening)
        if frame is None or (opening == self._said and now_ns < self._due_ns):
            return None
        self._said, self._due_ns = opening, now_ns + int(REFRESH_S * 1e9)
        return frame
