"""The PiPER as MJCF of our own: the published kinematics, primitive geometry.

The driver of the real arm solves IK on it. It carries no actuators, no fingers and no dynamics
that anything relies on: it is the arm's geometry, with joint ranges and the model's TCP.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dvla.runtime.robots.piper.body import LINK_CAPSULES, ORIENTATION_M_PER_RAD, PIPER_HOME_Q
from dvla.runtime.robots.piper.kinematics import (
    DH_TABLE,
    DQ_LIMIT,
    Q_LOWER,
    Q_UPPER,
    TCP_OFFSET_M,
    DhRow,
)
from dvla.runtime.twin.dependencies import import_mujoco
from dvla.runtime.twin.ik import IkArm

if TYPE_CHECKING:
    import mujoco

PIPER_JOINTS = tuple(f"joint{i}" for i in range(1, 7))
PIPER_TCP_SITE = "tcp"


def piper_mjcf() -> str:
    """Return the arm as MJCF text; joint angles are the arm's own."""
    body = f'<site name="{PIPER_TCP_SITE}" pos="0 0 {TCP_OFFSET_M}" quat="0 0 0 1" size="0.005"/>'
    rows = zip(DH_TABLE, PIPER_JOINTS, Q_LOWER, Q_UPPER, LINK_CAPSULES, strict=True)
    for row, name, low, high, (radius, start, end) in reversed(list(rows)):
        body = f"""
<body name="link_{name}" {placed(row)}>
  <joint name="{name}" axis="0 0 1" range="{low} {high}"/>
  <geom type="capsule" size="{radius}" fromto="{text(*start)} {text(*end)}" mass="0.5"/>
  {body}
</body>"""
    return f"""
<mujoco model="piper">
  <compiler angle="radian" autolimits="true"/>
  <default><geom contype="0" conaffinity="0"/></default>
  <worldbody><body name="base_link">{body}</body></worldbody>
</mujoco>"""


def piper_spec() -> mujoco.MjSpec:
    """Return the arm as an editable model."""
    mujoco = import_mujoco()
    return mujoco.MjSpec.from_string(piper_mjcf())


def piper_ik_arm() -> IkArm:
    """Return what IK needs to know of the PiPER."""
    return IkArm(
        spec=piper_spec,
        joints=PIPER_JOINTS,
        speed_limits=DQ_LIMIT,
        posture=PIPER_HOME_Q,
        tcp_site=PIPER_TCP_SITE,
        orientation_m_per_rad=ORIENTATION_M_PER_RAD,
    )


def placed(row: DhRow) -> str:
    """Return the attributes of a body at a row of the table, where its joint is zero."""
    # Rx(alpha) Tx(a) Tz(d) places the frame; Rz(theta) turns it to where the joint is zero.
    place = (row.a, -row.d * math.sin(row.alpha), row.d * math.cos(row.alpha))
    ca, sa = math.cos(row.alpha / 2), math.sin(row.alpha / 2)
    ct, st = math.cos(row.theta / 2), math.sin(row.theta / 2)
    turn = (ca * ct, sa * ct, -sa * st, ca * st)
    return f'pos="{text(*place)}" quat="{text(*turn)}"'


def text(*numbers: float) -> str:
    """Write numbers for an MJCF attribute, exactly enough for a micrometre at the fingertips."""
    return " ".join(f"{number:.12g}" for number in numbers)
