"""The newest of everything that the arm sends, and when it was received."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.robots.piper.bus import FrameBus
from dvla.runtime.robots.piper.protocol import (
    ID_END_POSES,
    ID_GRIPPER,
    ID_JOINTS,
    ID_LEADER,
    ID_MOTORS,
    ID_SPEEDS,
    ID_STATUS,
    JOINTS,
    Frame,
    GripperState,
    Status,
    decode_angles,
    decode_end_pose,
    decode_gripper,
    decode_motor_flags,
    decode_speed,
    decode_status,
)

NEVER_NS = -1
"""Stands in for the time of a frame that has not come yet."""
MAX_FRAMES_PER_READ = 512
MAX_PAUSE_NS = 20_000_000
SLEPT_NS = 100_000_000
"""Nobody who has not listened for that long may call the arm silent."""


class Feedback:
    """Takes frames; a joint position is as old as the oldest of the three frames that make it."""

    def __init__(self) -> None:
        self.q: NDArray[np.float64] = np.zeros(JOINTS)
        self.dq: NDArray[np.float64] = np.zeros(JOINTS)
        self.end_pose: NDArray[np.float64] = np.zeros(6)
        self.motor_flags = [0] * JOINTS
        self.status: Status | None = None
        self.gripper: GripperState | None = None
        self.leader_seen = False
        self.status_ns = NEVER_NS
        self.gripper_ns = NEVER_NS
        self.woke_ns = NEVER_NS
        self._joint_ns = [NEVER_NS] * 3
        self._pose_ns = [NEVER_NS] * 3
        self._speed_ns = [NEVER_NS] * JOINTS
        self._motor_ns = [NEVER_NS] * JOINTS

    @property
    def joints_ns(self) -> int:
        """When the oldest part of ``q`` was received, or ``NEVER_NS``."""
        return min(self._joint_ns)

    @property
    def speeds_ns(self) -> int:
        """When the oldest part of ``dq`` was received, or ``NEVER_NS``."""
        return min(self._speed_ns)

    @property
    def motors_ns(self) -> int:
        """When the oldest of the motors' flags was received, or ``NEVER_NS``."""
        return min(self._motor_ns)

    @property
    def pose_ns(self) -> int:
        """When the oldest part of ``end_pose`` was received, or ``NEVER_NS``."""
        return min(self._pose_ns)

    def take(self, frame: Frame, now_ns: int) -> None:
        """Take one frame; frames of other identifiers are ignored."""
        id_, data = frame
        if id_ in ID_JOINTS:
            index = id_ - ID_JOINTS[0]
            self.q[2 * index : 2 * index + 2] = decode_angles(data)
            self._joint_ns[index] = now_ns
        elif id_ in ID_SPEEDS:
            index = id_ - ID_SPEEDS[0]
            self.dq[index] = decode_speed(data)
            self._speed_ns[index] = now_ns
        elif id_ == ID_STATUS:
            self.status, self.status_ns = decode_status(data), now_ns
        elif id_ in ID_MOTORS:
            index = id_ - ID_MOTORS[0]
            self.motor_flags[index] = decode_motor_flags(data)
            self._motor_ns[index] = now_ns
        elif id_ == ID_GRIPPER:
            self.gripper, self.gripper_ns = decode_gripper(data), now_ns
        elif id_ in ID_END_POSES:
            index = id_ - ID_END_POSES[0]
            self.end_pose[2 * index : 2 * index + 2] = decode_end_pose(index, data)
            self._pose_ns[index] = now_ns
        elif id_ in ID_LEADER:
            self.leader_seen = True


class Listener:
    """Empties a bus into a ``Feedback``.

    Args:
        bus: to the arm.
    """

    def __init__(self, bus: FrameBus) -> None:
        self._bus = bus
        self._emptied_ns = self._looked_ns = NEVER_NS
        self.feedback = Feedback()

    def receive(self, now_ns: int) -> None:
        """Take what the bus holds.

        A frame is as new as now only when nothing could have queued for long. After a pause, or
        when there is more than one read takes, frames count as old as the last time that the bus
        was empty; those before the first such time are of unknown age, and are dropped. A host
        that slept says so in ``woke_ns``: its own absence is no silence of the arm.

        Raises:
            RobotFault: the bus is gone.
        """
        if now_ns - self._looked_ns > SLEPT_NS:
            self.feedback.woke_ns = now_ns
        self._looked_ns = now_ns
        frames = list(itertools.islice(iter(self._bus.receive, None), MAX_FRAMES_PER_READ))
        emptied = len(frames) < MAX_FRAMES_PER_READ
        prompt = emptied and now_ns - self._emptied_ns <= MAX_PAUSE_NS
        t_ns = now_ns if prompt else self._emptied_ns
        if emptied:
            self._emptied_ns = now_ns
        if t_ns != NEVER_NS:
            for frame in frames:
                self.feedback.take(frame, t_ns)
