"""Taking an arm over where it stands: which frames to send, tick by tick.

The arm keeps its last target, over the end of the process that wrote it, and moves to it on a
change of mode. So the present joints are written as the target first, many times; then motors are
enabled, and only then is CAN control asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.errors import RobotFault
from dvla.runtime.robots.piper.feedback import Feedback
from dvla.runtime.robots.piper.health import (
    disabled_joints,
    follows,
    grip_lost,
    silence,
    trouble,
)
from dvla.runtime.robots.piper.kinematics import Q_LOWER, Q_UPPER
from dvla.runtime.robots.piper.protocol import Frame, enable_frames, joint_target_frames
from dvla.runtime.robots.piper.words import joint_words

ENGAGE_S = 3.0
PRELOAD_TICKS = 20
"""Times that the present joints are written before a mode is asked for; frames get lost."""
ASK_EVERY_TICKS = 10
REST_RAD_S = 0.1
BEYOND_RAD = 0.0175
"""A resting arm may report a joint that much outside its range (1 degree); its target is not."""


def present_joints(feedback: Feedback) -> NDArray[np.float64]:
    """Return the joints as they are, within their ranges: (6,) [rad]."""
    return np.clip(feedback.q, Q_LOWER, Q_UPPER)


def moves(feedback: Feedback) -> bool:
    """Return whether a joint is faster than an arm at rest."""
    return float(np.abs(feedback.dq).max()) > REST_RAD_S


class Engagement:
    """One attempt to take the arm over.

    Args:
        feedback: of the arm; read on every tick.
        mode: the frame that asks for CAN control.
        now_ns: when the attempt begins.

    Attributes:
        target: (6,) [rad], where the arm is held.
        done: whether the arm follows us now.
        problem: why the attempt has failed; empty while it has not.

    Raises:
        RobotFault: the arm is not fit for it: silent, in error, moving, or out of range.
    """

    def __init__(self, feedback: Feedback, mode: Frame, now_ns: int) -> None:
        wrong = self._wrong(feedback, now_ns) or _unfit(feedback)
        if wrong:
            raise RobotFault("the PiPER cannot be engaged", got=wrong)
        self._feedback, self._mode = feedback, mode
        self._deadline_ns = now_ns + int(ENGAGE_S * 1e9)
        self._ticks = 0
        self.target = present_joints(feedback)
        self.done = False
        self.problem = ""

    @staticmethod
    def _wrong(feedback: Feedback, now_ns: int) -> str:
        # What is wrong with an old target, a new one puts right.
        return silence(feedback, now_ns) or trouble(feedback, target_states_count=False)

    def step(self, now_ns: int) -> tuple[Frame, ...]:
        """Return the frames of this tick, and note whether the attempt has ended."""
        feedback = self._feedback
        self.problem = self._wrong(feedback, now_ns)
        if not self.problem and now_ns > self._deadline_ns:
            self.problem = f"engaging took over {ENGAGE_S:g} s: {self._missing()}"
        if self.problem:
            return ()
        disabled = disabled_joints(feedback)
        if disabled:
            # A disabled arm may sink, or be moved by hand: the target follows it.
            self.target = present_joints(feedback)
        frames: tuple[Frame, ...] = joint_target_frames(self.target)
        self._ticks += 1
        if self._ticks < PRELOAD_TICKS:
            return frames
        ask = self._ticks % ASK_EVERY_TICKS == 0
        if disabled:
            return frames + enable_frames() if ask else frames
        if not follows(feedback.status):
            return (*frames, self._mode) if ask else frames
        self.done = not trouble(feedback)
        return frames

    def _missing(self) -> str:
        disabled = joint_words(disabled_joints(self._feedback))
        if disabled:
            return f"the motors of {disabled} stay disabled"
        return grip_lost(self._feedback) or trouble(self._feedback) or "its last answer came late"


def _unfit(feedback: Feedback) -> str:
    """Return why an arm in order cannot be taken over as it stands, or an empty string."""
    if moves(feedback):
        return f"the arm moves at {np.abs(feedback.dq).max():.2f} rad/s"
    beyond = np.maximum(feedback.q - np.array(Q_UPPER), np.array(Q_LOWER) - feedback.q)
    worst = int(np.argmax(beyond))
    if beyond[worst] > BEYOND_RAD:
        degrees = np.degrees(beyond[worst])
        return f"joint {worst + 1} is {degrees:.1f} deg outside its range; move it by hand"
    return ""
