"""The PiPER's CAN protocol: 11-bit identifiers, 8 data bytes, big-endian, 1 Mbit/s.

Facts of the maker's protocol V2, as far as the driver speaks it. Angles travel in 0.001 degree,
lengths in 0.001 mm, joint speeds in 0.001 rad/s, torques in 0.001 Nm. Nothing here can disable a
motor, leave CAN control, run a recorded trajectory or move a zero point: those frames do not exist.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

JOINTS = 6

ID_MODE = 0x151
ID_JOINT_TARGETS = (0x155, 0x156, 0x157)
ID_GRIPPER_TARGET = 0x159
ID_MOTOR_ENABLE = 0x471

ID_STATUS = 0x2A1
ID_END_POSES = (0x2A2, 0x2A3, 0x2A4)
ID_JOINTS = (0x2A5, 0x2A6, 0x2A7)
ID_GRIPPER = 0x2A8
ID_SPEEDS = (0x251, 0x252, 0x253, 0x254, 0x255, 0x256)
ID_MOTORS = (0x261, 0x262, 0x263, 0x264, 0x265, 0x266)
ID_LEADER = range(0x3A1, 0x3A9)
"""Where an arm that is configured as a leader sends what a follower sends on 0x2A1 to 0x2A8."""

CONTROL_CAN = 0x01
MOVE_J = 0x01
_POSITION_SPEED_MODE = 0x00
_ENABLE = 0x02
_GRIPPER_ENABLE = 0x01

MOTOR_ENABLED = 1 << 6
GRIPPER_ENABLED = 1 << 6

_MILLIDEGREE = math.pi / 180_000.0
_MICROMETRE = 1e-6
_TWO_INT32 = struct.Struct(">ii")
_GRIPPER_OUT = struct.Struct(">iHBB")
_GRIPPER_IN = struct.Struct(">ihBx")
_STATUS = struct.Struct(">8B")
_SPEED = struct.Struct(">hxxxxxx")
_MOTOR = struct.Struct(">xxxxxBxx")


class Frame(NamedTuple):
    """One CAN data frame: an 11-bit identifier and 8 bytes."""

    id: int
    data: bytes


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What 0x2A1 says of the whole arm.

    Attributes:
        control: who commands the arm; ``CONTROL_CAN`` is us.
        state: 0 is normal; see ``words.ARM_STATES``.
        move: how targets are approached; ``MOVE_J`` is joint by joint.
        beyond_limits: bit i is joint i + 1 beyond its range.
        unreachable: bit i is joint i + 1 without communication.
    """

    control: int
    state: int
    move: int
    beyond_limits: int
    unreachable: int


class GripperState(msgspec.Struct, frozen=True, kw_only=True):
    """What 0x2A8 says of the gripper: opening [m], torque [Nm] and flags."""

    stroke_m: float
    effort_nm: float
    flags: int


def joint_target_frames(q: NDArray[np.float64]) -> tuple[Frame, Frame, Frame]:
    """Return the frames that write the joint targets.

    Args:
        q: (6,) [rad].

    Raises:
        ValueError: a value is not finite; NaN has no integer, so it cannot reach the bus.
    """
    if not np.isfinite(q).all():
        raise ValueError(f"joint targets must be finite, not {q.tolist()}")
    units = [round(value) for value in (q / _MILLIDEGREE).tolist()]
    pairs = zip(ID_JOINT_TARGETS, units[0::2], units[1::2], strict=True)
    first, second, third = (Frame(id_, _TWO_INT32.pack(a, b)) for id_, a, b in pairs)
    return first, second, third


def mode_frame(speed_percent: int) -> Frame:
    """Return the frame that asks for CAN control by MOVE J at a share of full joint speed."""
    if not 1 <= speed_percent <= 100:
        raise ValueError(f"the speed must be 1 to 100 %, not {speed_percent}")
    return Frame(
        ID_MODE, bytes([CONTROL_CAN, MOVE_J, speed_percent, _POSITION_SPEED_MODE, 0, 0, 0, 0])
    )


def enable_frames() -> tuple[Frame, ...]:
    """Return the frames that enable the joints, one by one.

    Motor number 7 means every motor in one edition of the protocol and the gripper's in another.
    """
    return tuple(
        Frame(ID_MOTOR_ENABLE, bytes([motor, _ENABLE, 0, 0, 0, 0, 0, 0]))
        for motor in range(1, JOINTS + 1)
    )


def gripper_frame(stroke_m: float, effort_nm: float) -> Frame:
    """Return the frame that opens the gripper to ``stroke_m`` with at most ``effort_nm``.

    Raises:
        ValueError: the stroke is not 0 to 0.07 m, or the effort not 0 to 5 Nm.
    """
    if not (0.0 <= stroke_m <= 0.07 and 0.0 <= effort_nm <= 5.0):
        raise ValueError(f"no gripper target: {stroke_m} m, {effort_nm} Nm")
    stroke, effort = round(stroke_m / _MICROMETRE), round(effort_nm * 1000.0)
    return Frame(ID_GRIPPER_TARGET, _GRIPPER_OUT.pack(stroke, effort, _GRIPPER_ENABLE, 0))


def decode_angles(data: bytes) -> tuple[float, float]:
    """Return two joint angles [rad] of a joint feedback or joint target frame."""
    first, second = _TWO_INT32.unpack(data)
    return first * _MILLIDEGREE, second * _MILLIDEGREE


def decode_end_pose(index: int, data: bytes) -> tuple[float, float]:
    """Return two numbers of link6's pose: x y, z rx, or ry rz [m, rad] for index 0, 1, 2."""
    first, second = _TWO_INT32.unpack(data)
    units = ((_MICROMETRE, _MICROMETRE), (_MICROMETRE, _MILLIDEGREE), (_MILLIDEGREE,) * 2)[index]
    return first * units[0], second * units[1]


def decode_status(data: bytes) -> Status:
    """Return what 0x2A1 says."""
    control, state, move, _teach, _motion, _point, limits, unreachable = _STATUS.unpack(data)
    return Status(
        control=control, state=state, move=move, beyond_limits=limits, unreachable=unreachable
    )


def decode_speed(data: bytes) -> float:
    """Return the speed of a joint [rad/s] from 0x251 to 0x256."""
    return float(_SPEED.unpack(data)[0]) * 1e-3


def decode_motor_flags(data: bytes) -> int:
    """Return the flags of a motor's driver from 0x261 to 0x266."""
    return int(_MOTOR.unpack(data)[0])


def decode_gripper(data: bytes) -> GripperState:
    """Return what 0x2A8 says."""
    stroke, effort, flags = _GRIPPER_IN.unpack(data)
    return GripperState(stroke_m=stroke * _MICROMETRE, effort_nm=effort * 1e-3, flags=flags)
