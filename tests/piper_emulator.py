"""A PiPER on a CAN bus: joints that lag, registers that outlive processes, and misbehaviour.

It packs and unpacks frames by itself, not with the driver's codec, so that the two check each
other. Time moves in ``step``.
"""

from __future__ import annotations

import math
import random
import struct
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MS = 1_000_000
LOWER = np.radians([-150.0, 0.0, -170.0, -100.0, -70.0, -120.0])
UPPER = np.radians([150.0, 180.0, 0.0, 100.0, 70.0, 120.0])
TOP_SPEED = 3.0
GRIPPER_SPEED = 0.12
PARKED = np.zeros(6)
READY = np.array([0.1, 1.4, -0.95, 0.05, 1.1, -0.1])
STALE_TARGET = np.array([1.2, 2.0, -2.0, 0.5, 0.3, 1.0])
STALE_POSE_TARGET = np.array([-1.0, 0.6, -0.4, 0.0, 0.2, 0.0])
STANDBY, CAN, TEACHING = 0, 1, 2
MOVE_P, MOVE_J = 0, 1


class Port(Protocol):
    """Where frames go and come from."""

    def send(self, frame: tuple[int, bytes]) -> bool: ...

    def receive(self) -> tuple[int, bytes] | None: ...


@dataclass
class Misbehaviour:
    """What is wrong with the arm or its bus.

    Attributes:
        drop_share: share of frames lost, either way.
        silent: identifiers that are never sent.
        mute: nothing is sent at all.
        as_leader: feedback is sent where a leader sends it, 0x100 higher.
        deaf_to_mode: mode frames are ignored: the arm stays in standby.
        deaf_motors: joints whose motors do not take the enable frame.
        gripper_stuck_m: the jaws stop there.
        lag_s: time constant with which joints follow.
    """

    drop_share: float = 0.0
    silent: set[int] = field(default_factory=set)
    mute: bool = False
    as_leader: bool = False
    deaf_to_mode: bool = False
    deaf_motors: set[int] = field(default_factory=set)
    gripper_stuck_m: float | None = None
    lag_s: float = 0.03


def published_link6(q: NDArray[np.float64], moved_zeros: bool = True) -> NDArray[np.float64]:
    """Return link6 in base_link (4, 4) by the maker's table, as elementary motions [m]."""
    two, three = (-172.22, -102.78) if moved_zeros else (-174.22, -100.78)
    rows = [
        (0.0, 0.0, 0.0, 0.123),
        (0.0, -90.0, two, 0.0),
        (0.28503, 0.0, three, 0.0),
        (-0.02198, 90.0, 0.0, 0.25075),
        (0.0, -90.0, 0.0, 0.0),
        (0.0, 90.0, 0.0, 0.091),
    ]
    pose = np.eye(4)
    for (a, alpha, theta, d), angle in zip(rows, q, strict=True):
        pose = pose @ _turn(0, math.radians(alpha)) @ _shift(a, 0.0)
        pose = pose @ _turn(2, angle + math.radians(theta)) @ _shift(0.0, d)
    return pose


def _turn(axis: int, angle: float) -> NDArray[np.float64]:
    pose = np.eye(4)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    pose[i, i] = pose[j, j] = math.cos(angle)
    pose[i, j], pose[j, i] = -math.sin(angle), math.sin(angle)
    return pose


def _shift(x: float, z: float) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[0, 3], pose[2, 3] = x, z
    return pose


class PiperEmulator:
    """One arm at the far end of a bus.

    Args:
        port: the bus.
        q: (6,) where its joints are [rad].
        powered: whether an earlier process left the motors enabled.
        control: the mode in which it was left.
        feedback_ms: period of its feedback.
        moved_zeros: whether its end pose follows the newer table.
    """

    def __init__(
        self,
        port: Port,
        q: NDArray[np.float64] = READY,
        *,
        powered: bool = True,
        control: int = STANDBY,
        feedback_ms: int = 5,
        moved_zeros: bool = True,
        seed: int = 0,
    ) -> None:
        self.port = port
        self.q = np.array(q, np.float64)
        self.dq = np.zeros(6)
        self.wrong = Misbehaviour()
        self.joint_target = STALE_TARGET.copy()
        self.pose_target = STALE_POSE_TARGET.copy()
        self.control, self.move, self.speed_percent = control, MOVE_P, 0
        self.state = 0
        self.motor_errors = [0] * 6
        self.gripper_errors = 0
        self.enabled = [powered] * 6
        self.stroke_m, self.gripper_target_m = 0.035, 0.035
        self.fell = False
        self.received: list[tuple[int, bytes]] = []
        self._random = random.Random(seed)
        self._feedback_ms = feedback_ms
        self._moved_zeros = moved_zeros
        self._now_ms: int | None = None

    @property
    def now_ns(self) -> int:
        """Up to when the arm has moved, or 0."""
        return 0 if self._now_ms is None else self._now_ms * MS

    # -- time ----------------------------------------------------------------------------------

    def step(self, now_ns: int) -> None:
        """Read the bus, move, and report, up to ``now_ns``."""
        now_ms = now_ns // MS
        if self._now_ms is None:
            self._now_ms = now_ms - 1
        self._receive()
        while self._now_ms < now_ms:
            self._now_ms += 1
            self._move(0.001)
            if self._now_ms % self._feedback_ms == 0:
                self._report()
            if self._now_ms % (5 * self._feedback_ms) == 0:
                self._report_motors()

    def _lost(self) -> bool:
        return self._random.random() < self.wrong.drop_share

    def _receive(self) -> None:
        while (frame := self.port.receive()) is not None:
            if self._lost():
                continue
            self.received.append((frame[0], bytes(frame[1])))
            self._take(*frame)

    def _take(self, id_: int, data: bytes) -> None:
        if id_ == 0x151:
            if not self.wrong.deaf_to_mode:
                self.control, self.move, self.speed_percent = data[0], data[1], data[2]
        elif 0x152 <= id_ <= 0x154:
            self.pose_target[:] = READY
        elif 0x155 <= id_ <= 0x157:
            at = 2 * (id_ - 0x155)
            self.joint_target[at : at + 2] = np.radians(np.array(struct.unpack(">ii", data)) / 1e3)
            self._judge_target()
        elif id_ == 0x159:
            stroke, _effort, code, _zero = struct.unpack(">iHBB", data)
            if code == 1:
                self.gripper_target_m = stroke * 1e-6
        elif id_ == 0x471:
            motors = range(6) if data[0] in (7, 0xFF) else [data[0] - 1]
            for motor in motors:
                if motor not in self.wrong.deaf_motors:
                    self.enabled[motor] = data[1] == 2

    def _judge_target(self) -> None:
        inside = ((self.joint_target >= LOWER) & (self.joint_target <= UPPER)).all()
        if not inside:
            self.state = 4
        elif self.state == 4:
            self.state = 0

    def _move(self, dt: float) -> None:
        goal = self.q
        if self.control == CAN and self.state == 0:
            goal = self.joint_target if self.move == MOVE_J else self.pose_target
        top = TOP_SPEED * max(self.speed_percent, 1) / 100.0
        self.dq = np.clip((goal - self.q) / self.wrong.lag_s, -top, top)
        for joint in range(6):
            if not self.enabled[joint]:
                self.dq[joint] = 0.0
        # Without its motors the arm falls onto its stops, which are joints 2 and 3 at zero.
        for joint in (1, 2):
            if not self.enabled[joint] and abs(self.q[joint]) > 0.05:
                self.dq[joint] = -0.5 * np.sign(self.q[joint])
                self.fell = True
        self.q = self.q + dt * self.dq
        jaw = np.clip(
            self.gripper_target_m - self.stroke_m, -GRIPPER_SPEED * dt, GRIPPER_SPEED * dt
        )
        stuck = self.wrong.gripper_stuck_m
        if stuck is None or (self.stroke_m - stuck) * (self.stroke_m + jaw - stuck) > 0:
            self.stroke_m += float(jaw)

    # -- feedback ------------------------------------------------------------------------------

    def _send(self, id_: int, data: bytes) -> None:
        if self.wrong.mute or id_ in self.wrong.silent or self._lost():
            return
        self.port.send((id_ + 0x100 if self.wrong.as_leader else id_, data))

    def _report(self) -> None:
        beyond = 0
        if self.state == 4:
            outside = (self.joint_target < LOWER) | (self.joint_target > UPPER)
            beyond = int(sum(1 << i for i in range(6) if outside[i]))
        status = [self.control, self.state, self.move, 0, 0, 0, beyond, 0]
        self._send(0x2A1, bytes(status))
        for index, pair in enumerate(self._end_pose().reshape(3, 2)):
            self._send(0x2A2 + index, struct.pack(">ii", *[round(v) for v in pair]))
        millidegrees = [round(v) for v in np.degrees(self.q) * 1e3]
        for index in range(3):
            pair = millidegrees[2 * index : 2 * index + 2]
            self._send(0x2A5 + index, struct.pack(">ii", *pair))
        flags = 0xC0 | self.gripper_errors
        stroke = round(self.stroke_m * 1e6)
        self._send(0x2A8, struct.pack(">ihBB", stroke, 300, flags, 0))
        for joint in range(6):
            speed = round(float(self.dq[joint]) * 1e3)
            self._send(0x251 + joint, struct.pack(">hhi", speed, 100, 0))

    def _report_motors(self) -> None:
        for joint in range(6):
            flags = (0x40 if self.enabled[joint] else 0) | self.motor_errors[joint]
            self._send(0x261 + joint, struct.pack(">HhbBH", 240, 35, 36, flags, 0))

    def _end_pose(self) -> NDArray[np.float64]:
        """Return link6 as the arm says it: (6,) [0.001 mm, 0.001 deg], extrinsic xyz."""
        pose = published_link6(self.q, self._moved_zeros)
        rx = math.atan2(pose[2, 1], pose[2, 2])
        ry = math.atan2(-pose[2, 0], math.hypot(pose[0, 0], pose[1, 0]))
        rz = math.atan2(pose[1, 0], pose[0, 0])
        return np.concatenate([pose[:3, 3] * 1e6, np.degrees([rx, ry, rz]) * 1e3])
