"""What the twins' own arms share: MJCF of links and of the whole, and servos on the joints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dvla.runtime.twin.dependencies import import_mujoco

if TYPE_CHECKING:
    import mujoco

WHITE, DARK = "0.93 0.94 0.95 1", "0.16 0.18 0.22 1"
FINGER_JOINTS = ("finger_joint1", "finger_joint2")
WRIST_CAMERA = "wrist_cam"
SERVO_LAG_S = 0.1
"""Damping over stiffness of a joint's servo: how far an arm is behind its command."""
_FINGER_STIFFNESS, _FINGER_DAMPING = 4000.0, 80.0


def text(*numbers: float, digits: int = 9) -> str:
    """Write numbers for an MJCF attribute."""
    return " ".join(f"{number:.{digits}g}" for number in numbers)


def link_mjcf(name: str, place: str, joint: str, looks: Sequence[str], child: str) -> str:
    """Return a link about a joint of the same name, and what is on it.

    Args:
        name: of the joint.
        place: attributes of the body.
        joint: attributes of the joint, but for name and axis.
        looks: attributes of its geometry.
        child: the next link.
    """
    geoms = "\n".join(f'  <geom class="look" {look}/>' for look in looks)
    return f"""
<body name="link_{name}" gravcomp="1" {place}>
  <joint name="{name}" axis="0 0 1" {joint}/>
{geoms}
  {child}
</body>"""


def model_mjcf(name: str, finger_travel_m: float, base: Sequence[str], body: str) -> str:
    """Return the text of an arm.

    Args:
        name: of the model.
        finger_travel_m: of either finger.
        base: attributes of the base's geometry.
        body: the first link.
    """
    geoms = "\n".join(f'      <geom class="look" {look}/>' for look in base)
    return f"""
<mujoco model="{name}">
  <compiler angle="radian" autolimits="true"/>
  <default>
    <default class="look">
      <geom contype="0" conaffinity="0" group="2" rgba="{WHITE}"/>
    </default>
    <default class="finger">
      <joint type="slide" range="0 {finger_travel_m}" armature="0.05" damping="2"/>
      <geom type="box" contype="1" conaffinity="3" condim="4" priority="1"
            friction="1.4 0.02 0.001" solref="0.004 1" solimp="0.97 0.995 0.0005" rgba="{DARK}"/>
    </default>
  </default>
  <worldbody>
    <body name="base">
{geoms}
      {body}
    </body>
  </worldbody>
</mujoco>"""


def add_servos(
    spec: mujoco.MjSpec,
    joints: Sequence[str],
    stiffness: Sequence[float],
    torque_nm: Sequence[float],
    grip_n: float,
) -> None:
    """Add position servos to the joints of an arm and to its fingers.

    Args:
        spec: of the arm.
        joints: names of its joints.
        stiffness: of each [Nm/rad].
        torque_nm: that each may use.
        grip_n: force of a finger.
    """
    for name, gain, torque in zip(joints, stiffness, torque_nm, strict=True):
        _add_servo(spec, name, gain, gain * SERVO_LAG_S, torque)
    for name in FINGER_JOINTS:
        _add_servo(spec, name, _FINGER_STIFFNESS, _FINGER_DAMPING, grip_n)


def _add_servo(
    spec: mujoco.MjSpec, joint: str, stiffness: float, damping: float, force: float
) -> None:
    """Add a position servo: force = stiffness (target - q) - damping dq, clipped at ``force``."""
    mujoco = import_mujoco()
    servo = spec.add_actuator()
    servo.name = joint
    servo.target = joint
    servo.trntype = mujoco.mjtTrn.mjTRN_JOINT
    servo.gaintype = mujoco.mjtGain.mjGAIN_FIXED
    servo.biastype = mujoco.mjtBias.mjBIAS_AFFINE
    servo.gainprm[0] = stiffness
    servo.biasprm[1] = -stiffness
    servo.biasprm[2] = -damping
    servo.forcelimited = mujoco.mjtLimited.mjLIMITED_TRUE
    servo.forcerange = [-force, force]
