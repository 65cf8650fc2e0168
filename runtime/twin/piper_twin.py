"""The PiPER with hand, cameras and servos: what the twin's physics moves.

Kinematics, ranges, gripper stroke and TCP are the maker's; masses are round figures of a 4 kg arm,
and lag, finger speed and grip are those assumed of the Franka's twin. Nothing here was measured on
a PiPER.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dvla.runtime.robots.piper.body import LINK_CAPSULES
from dvla.runtime.robots.piper.kinematics import (
    DH_TABLE,
    GRIPPER_STROKE_M,
    Q_LOWER,
    Q_UPPER,
    TCP_OFFSET_M,
    DhRow,
)
from dvla.runtime.twin.arm_model import FINGER_JOINTS, SERVO_LAG_S, WRIST_CAMERA, add_servo
from dvla.runtime.twin.dependencies import import_mujoco

if TYPE_CHECKING:
    import mujoco

PIPER_JOINTS = tuple(f"joint{i}" for i in range(1, 7))
PIPER_TCP_SITE = "tcp"
FINGER_TRAVEL_M = GRIPPER_STROKE_M / 2
TIP_M = 0.006
"""How far the pads of the jaws reach beyond the TCP."""
START_Q = (0.0, 1.2275, -0.9922, 0.0, 1.0228, 0.0)
"""Hand over the middle of the table, TCP at (0.28, 0, 0.18), leaning out by 0.4 rad: where an
episode starts."""

_STIFFNESS = (800.0, 800.0, 600.0, 200.0, 200.0, 100.0)
"""Position gains [Nm/rad]; damping is stiffness times ``SERVO_LAG_S``."""
_TORQUE_NM = (25.0, 25.0, 25.0, 8.0, 8.0, 6.0)
_MASSES_KG = (0.8, 1.0, 0.6, 0.4, 0.3, 0.2)
_GRIP_N = 15.0
_ROTOR_INERTIA = 0.05
_WHITE, _DARK = "0.93 0.94 0.95 1", "0.16 0.18 0.22 1"
_PAD_HALF_M = 0.022
_FLANGE = (0.0, 0.0, 0.04)


def piper_twin_mjcf() -> str:
    """Return the arm, its hand and the wrist camera as MJCF text."""
    body = _hand_mjcf()
    rows = zip(DH_TABLE, PIPER_JOINTS, Q_LOWER, Q_UPPER, LINK_CAPSULES, _MASSES_KG, strict=True)
    for row, name, low, high, (radius, start, end), mass in reversed(list(rows)):
        tip = _FLANGE if name == PIPER_JOINTS[-1] else end  # the gate's reaches through the hand
        capsule = f'fromto="{_text(*start)} {_text(*tip)}" size="{radius}"'
        ring = f'size="{radius + 0.005} 0.022" mass="0.05" rgba="{_DARK}"'
        body = f"""
<body name="link_{name}" gravcomp="1" {_placed(row)}>
  <joint name="{name}" axis="0 0 1" range="{low} {high}" armature="{_ROTOR_INERTIA}"/>
  <geom class="look" type="capsule" {capsule} mass="{mass}"/>
  <geom class="look" type="cylinder" {ring}/>
  {body}
</body>"""
    return f"""
<mujoco model="piper">
  <compiler angle="radian" autolimits="true"/>
  <default>
    <default class="look">
      <geom contype="0" conaffinity="0" group="2" rgba="{_WHITE}"/>
    </default>
    <default class="finger">
      <joint type="slide" range="0 {FINGER_TRAVEL_M}" armature="0.05" damping="2"/>
      <geom type="box" contype="1" conaffinity="3" condim="4" priority="1"
            friction="1.4 0.02 0.001" solref="0.004 1" solimp="0.97 0.995 0.0005" rgba="{_DARK}"/>
    </default>
  </default>
  <worldbody>
    <body name="base">
      <geom class="look" type="cylinder" size="0.070 0.015" pos="0 0 0.015" rgba="{_DARK}"/>
      <geom class="look" type="cylinder" size="0.050 0.030" pos="0 0 0.055" mass="1"/>
      {body}
    </body>
  </worldbody>
</mujoco>"""


def _hand_mjcf() -> str:
    """Return the hand in the TCP's attitude: site, wrist camera and two jaws along its y axis."""
    middle = TCP_OFFSET_M + TIP_M - _PAD_HALF_M
    view = "0 1 0 0.9428 0 0.3335"
    jaw = f"""
  <body name="finger{{n}}" gravcomp="1" quat="{{quat}}">
    <joint class="finger" name="{{joint}}" axis="0 1 0"/>
    <geom class="finger" size="0.009 0.0045 {_PAD_HALF_M}" pos="0 0.0045 {middle}" mass="0.03"/>
  </body>"""
    return f"""
<body name="hand" gravcomp="1" quat="0 0 0 1">
  <geom class="look" type="box" size="0.022 0.046 0.015" pos="0 0 0.077" mass="0.25"/>
  <geom class="look" type="box" size="0.010 0.013 0.008" pos="0.050 0 0.046" mass="0.03"
        rgba="{_DARK}"/>
  <site name="{PIPER_TCP_SITE}" pos="0 0 {TCP_OFFSET_M}" size="0.005" rgba="0 0 0 0"/>
  <camera name="{WRIST_CAMERA}" pos="0.060 0 0.070" xyaxes="{view}" fovy="72"/>
  {jaw.format(n=1, quat="1 0 0 0", joint=FINGER_JOINTS[0])}
  {jaw.format(n=2, quat="0 0 0 1", joint=FINGER_JOINTS[1])}
</body>"""


def piper_twin_spec() -> mujoco.MjSpec:
    """Return the arm as an editable model with our servos on its joints."""
    spec = import_mujoco().MjSpec.from_string(piper_twin_mjcf())
    for name, stiffness, torque in zip(PIPER_JOINTS, _STIFFNESS, _TORQUE_NM, strict=True):
        add_servo(spec, name, stiffness, stiffness * SERVO_LAG_S, torque)
    for name in FINGER_JOINTS:
        add_servo(spec, name, 4000.0, 80.0, _GRIP_N)
    return spec


def _placed(row: DhRow) -> str:
    """Return the attributes of a body at a row of the table, where its joint is zero."""
    # Rx(alpha) Tx(a) Tz(d) places the frame; Rz(theta) turns it to where the joint is zero.
    place = (row.a, -row.d * math.sin(row.alpha), row.d * math.cos(row.alpha))
    ca, sa = math.cos(row.alpha / 2), math.sin(row.alpha / 2)
    ct, st = math.cos(row.theta / 2), math.sin(row.theta / 2)
    turn = (ca * ct, sa * ct, -sa * st, ca * st)
    return f'pos="{_text(*place)}" quat="{_text(*turn)}"'


def _text(*numbers: float) -> str:
    """Write numbers for an MJCF attribute, exactly enough for a micrometre at the fingertips."""
    return " ".join(f"{number:.12g}" for number in numbers)
