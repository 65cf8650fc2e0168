"""The PiPER's published kinematics, and the frames between its base and the model's TCP.

base_link -> link6 is the maker's table (modified Denavit-Hartenberg, Craig's convention) and what
the arm itself reports as its end pose. link6 -> TCP is half a turn about z and 0.1334 m along it:
the frame between the fingertips in which policies are trained. Both are applied here and nowhere
else.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.pose import quaternion_from_euler, quaternion_from_matrix
from dvla.runtime.rotation import rotation_between

Float64 = NDArray[np.float64]


class DhRow(msgspec.Struct, frozen=True):
    """One row of the table: Rx(alpha) Tx(a) Rz(q + theta) Tz(d)."""

    a: float
    alpha: float
    theta: float
    d: float


def _table(theta2_deg: float, theta3_deg: float) -> tuple[DhRow, ...]:
    quarter = math.pi / 2.0
    return (
        DhRow(0.0, 0.0, 0.0, 0.123),
        DhRow(0.0, -quarter, math.radians(theta2_deg), 0.0),
        DhRow(0.28503, 0.0, math.radians(theta3_deg), 0.0),
        DhRow(-0.02198, quarter, 0.0, 0.25075),
        DhRow(0.0, -quarter, 0.0, 0.0),
        DhRow(0.0, quarter, 0.0, 0.091),
    )


DH_TABLE = _table(-172.22, -102.78)
DH_TABLE_OLD = _table(-174.22, -100.78)
"""Of arms from before the maker moved the zeros of joints 2 and 3 by two degrees."""

Q_LOWER = (-2.6179, 0.0, -2.967, -1.745, -1.22, -2.09439)
Q_UPPER = (2.6179, 3.14, 0.0, 1.745, 1.22, 2.09439)
"""Joint ranges of the maker [rad]; a target beyond them is the arm's fault 0x04."""
DQ_LIMIT = (3.0,) * 6
"""The firmware's default top speed [rad/s]; the data sheet's are 180 to 225 deg/s."""
GRIPPER_STROKE_M = 0.07
REACH_M = 0.626
"""From the axis of joint 2 to link6, stretched."""

TCP_OFFSET_M = 0.1334
LINK6_TCP: Float64 = np.array(
    [[-1.0, 0, 0, 0], [0, -1.0, 0, 0], [0, 0, 1.0, TCP_OFFSET_M], [0, 0, 0, 1.0]]
)
"""The model's TCP in link6: Rz(pi), 0.1334 m along z."""
LINK6_TCP.setflags(write=False)


def link_poses(q: Float64, table: tuple[DhRow, ...] = DH_TABLE) -> Float64:
    """Return the frames of links 1 to 6 in base_link for joint positions.

    Args:
        q: (6,) [rad].
        table: the arm's Denavit-Hartenberg table.

    Returns:
        (6, 4, 4) homogeneous transforms [m].
    """
    poses = np.empty((6, 4, 4))
    pose: Float64 = np.eye(4)
    for index, (row, angle) in enumerate(zip(table, q.tolist(), strict=True)):
        ca, sa = math.cos(row.alpha), math.sin(row.alpha)
        c, s = math.cos(angle + row.theta), math.sin(angle + row.theta)
        pose = pose @ np.array(
            [
                [c, -s, 0.0, row.a],
                [s * ca, c * ca, -sa, -row.d * sa],
                [s * sa, c * sa, ca, row.d * ca],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )
        poses[index] = pose
    return poses


def tcp_and_twist(q: Float64, dq: Float64) -> tuple[Float64, Float64]:
    """Return the TCP in base_link, and its velocity.

    Args:
        q: (6,) [rad].
        dq: (6,) [rad/s].

    Returns:
        (4, 4) homogeneous transform [m], and the twist (6,) [m/s, rad/s] in the base frame.
    """
    links = link_poses(q)
    tcp = links[5] @ LINK6_TCP
    axes = links[:, :3, 2]
    arms = tcp[:3, 3] - links[:, :3, 3]
    linear = dq @ np.cross(axes, arms)
    return tcp, np.concatenate([linear, dq @ axes])


class FrameCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How far the host's kinematics are from what the arm says of itself.

    Attributes:
        position_m / rotation_rad: distance of link6, by the table that the driver uses.
        old_position_m: the same by the older table.
        ok: within a millimetre and half a degree.
        text: the outcome, and what to do about it.
    """

    position_m: float
    rotation_rad: float
    old_position_m: float
    ok: bool
    text: str


def check_frames(q: Float64, end_pose: Float64) -> FrameCheck:
    """Compare link6 by our table with the end pose that the arm reports.

    Args:
        q: (6,) joint positions that the arm reports [rad].
        end_pose: (6,) x, y, z [m] and extrinsic xyz Euler angles [rad] that it reports with them.
    """
    link6 = link_poses(q)[5]
    reported = quaternion_from_euler(end_pose[3:])
    turn = rotation_between(reported, quaternion_from_matrix(link6[:3, :3]))
    position_m = float(np.linalg.norm(link6[:3, 3] - end_pose[:3]))
    rotation_rad = float(np.linalg.norm(turn))
    old = link_poses(q, DH_TABLE_OLD)[5]
    old_position_m = float(np.linalg.norm(old[:3, 3] - end_pose[:3]))
    ok = position_m <= 0.001 and rotation_rad <= math.radians(0.5)
    distance = f"{1000 * position_m:.2f} mm, {math.degrees(rotation_rad):.2f} deg"
    text = f"link6 is {distance} from what the arm reports"
    if not ok and old_position_m <= 0.001:
        text += "; it reports by the older table, whose joints 2 and 3 differ by 2 degrees"
    return FrameCheck(
        position_m=position_m,
        rotation_rad=rotation_rad,
        old_position_m=old_position_m,
        ok=ok,
        text=text,
    )
