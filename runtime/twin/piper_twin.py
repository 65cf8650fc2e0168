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
from dvla.runtime.twin.dependencies import import_mujoco
from dvla.runtime.twin.mjcf import (
    DARK,
    FINGER_JOINTS,
    WRIST_CAMERA,
    add_servos,
    link_mjcf,
    model_mjcf,
    text,
)

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
_DIGITS = 12
"""Of numbers: enough for a micrometre at the fingertips."""
_PAD_HALF_M = 0.022
_FLANGE = (0.0, 0.0, 0.04)


def piper_twin_mjcf() -> str:
    """Return the arm, its hand and the wrist camera as MJCF text."""
    body = _hand_mjcf()
    rows = zip(DH_TABLE, PIPER_JOINTS, Q_LOWER, Q_UPPER, LINK_CAPSULES, _MASSES_KG, strict=True)
    for row, name, low, high, (radius, start, end), mass in reversed(list(rows)):
        tip = _FLANGE if name == PIPER_JOINTS[-1] else end  # the gate's reaches through the hand
        ends = f"{text(*start, digits=_DIGITS)} {text(*tip, digits=_DIGITS)}"
        body = link_mjcf(
            name,
            _placed(row),
            f'range="{low} {high}" armature="{_ROTOR_INERTIA}"',
            (
                f'type="capsule" fromto="{ends}" size="{radius}" mass="{mass}"',
                f'type="cylinder" size="{radius + 0.005} 0.022" mass="0.05" rgba="{DARK}"',
            ),
            body,
        )
    base = (
        f'type="cylinder" size="0.070 0.015" pos="0 0 0.015" rgba="{DARK}"',
        'type="cylinder" size="0.050 0.030" pos="0 0 0.055" mass="1"',
    )
    return model_mjcf("piper", FINGER_TRAVEL_M, base, body)


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
        rgba="{DARK}"/>
  <site name="{PIPER_TCP_SITE}" pos="0 0 {TCP_OFFSET_M}" size="0.005" rgba="0 0 0 0"/>
  <camera name="{WRIST_CAMERA}" pos="0.060 0 0.070" xyaxes="{view}" fovy="72"/>
  {jaw.format(n=1, quat="1 0 0 0", joint=FINGER_JOINTS[0])}
  {jaw.format(n=2, quat="0 0 0 1", joint=FINGER_JOINTS[1])}
</body>"""


def piper_twin_spec() -> mujoco.MjSpec:
    """Return the arm as an editable model with our servos on its joints."""
    spec = import_mujoco().MjSpec.from_string(piper_twin_mjcf())
    add_servos(spec, PIPER_JOINTS, _STIFFNESS, _TORQUE_NM, _GRIP_N)
    return spec


def _placed(row: DhRow) -> str:
    """Return the attributes of a body at a row of the table, where its joint is zero."""
    # Rx(alpha) Tx(a) Tz(d) places the frame; Rz(theta) turns it to where the joint is zero.
    place = (row.a, -row.d * math.sin(row.alpha), row.d * math.cos(row.alpha))
    ca, sa = math.cos(row.alpha / 2), math.sin(row.alpha / 2)
    ct, st = math.cos(row.theta / 2), math.sin(row.theta / 2)
    turn = (ca * ct, sa * ct, -sa * st, ca * st)
    return f'pos="{text(*place, digits=_DIGITS)}" quat="{text(*turn, digits=_DIGITS)}"'
