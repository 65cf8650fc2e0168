"""The Franka arm as MJCF of our own: public kinematic parameters, primitive geometry.

Every link is a capsule or two, every finger a box: vertices, not pixels, are what a software
renderer pays for. Frames follow Craig's convention (modified Denavit-Hartenberg), so the table
below *is* the kinematics. Masses are round figures of a 18 kg arm; gravity is compensated, as the
real arm's controller does, and joints are position servos whose damping over stiffness sets the
lag of the arm behind its command: ``SERVO_LAG_S``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.errors import ConfigError
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

ARM_JOINTS = tuple(f"joint{i}" for i in range(1, 8))
TCP_SITE = "tcp"

DH_TABLE = (
    # a [m], alpha [rad], d [m]
    (0.0, 0.0, 0.333),
    (0.0, -math.pi / 2, 0.0),
    (0.0, math.pi / 2, 0.316),
    (0.0825, math.pi / 2, 0.0),
    (-0.0825, -math.pi / 2, 0.384),
    (0.0, math.pi / 2, 0.0),
    (0.088, math.pi / 2, 0.0),
)
FLANGE_M = 0.107
HAND_TCP_M = 0.1034
Q_LOWER = (-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159)
Q_UPPER = (2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159)
DQ_LIMIT = (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26)
TORQUE_LIMIT_NM = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
FINGER_TRAVEL_M = 0.04
FINGER_FORCE_N = 15.0

HOME_Q = (0.0, -0.39, 0.0, -2.6095, 0.0, 2.2194, 0.7854)
"""Fingers down, TCP at (0.40, 0, 0.28): where an episode starts."""

_BENT_Q = (0.4, 0.3, -0.5, -1.8, 0.6, 1.5, -0.3)
SAME_TCP_M = 0.002

STIFFNESS = (4000.0, 4000.0, 3200.0, 3200.0, 1600.0, 1200.0, 800.0)
"""Position gains [Nm/rad]; damping is stiffness times ``SERVO_LAG_S``."""
ROTOR_INERTIA = 0.1

_Point = tuple[float, float, float]
LINK_CAPSULES: tuple[tuple[float, float, _Point, _Point], ...] = (
    # mass [kg], radius [m], capsule from, capsule to (link frame), of the link after each joint
    (3.6, 0.060, (0, 0, -0.18), (0, 0, -0.02)),
    (3.4, 0.058, (0, 0, 0), (0, -0.16, 0)),
    (3.0, 0.056, (0, 0, -0.14), (0.05, 0, 0)),
    (2.8, 0.054, (0, 0, 0), (-0.0825, 0.10, 0)),
    (2.6, 0.048, (0, 0.01, -0.26), (0, 0.01, -0.03)),
    (1.5, 0.046, (0, 0, 0), (0.070, 0, 0)),
    (0.7, 0.040, (0, 0, 0.03), (0, 0, 0.08)),
)
BASE_CAPSULE: tuple[float, _Point, _Point] = (0.068, (0, 0, 0.04), (0, 0, 0.13))
"""Radius [m] and ends of the capsule about the base."""


def forward_kinematics(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the TCP in the base frame for joint positions.

    Args:
        q: (7,) [rad].

    Returns:
        (4, 4) homogeneous transform [m].
    """
    pose: NDArray[np.float64] = np.eye(4)
    for (a, alpha, d), angle in zip(DH_TABLE, q, strict=True):
        ca, sa, c, s = math.cos(alpha), math.sin(alpha), math.cos(angle), math.sin(angle)
        pose = pose @ np.array(
            [
                [c, -s, 0.0, a],
                [s * ca, c * ca, -sa, -d * sa],
                [s * sa, c * sa, ca, d * ca],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )
    c = math.sqrt(0.5)
    hand = [[c, c, 0, 0], [-c, c, 0, 0], [0, 0, 1, FLANGE_M + HAND_TCP_M], [0, 0, 0, 1]]
    return np.asarray(pose @ np.array(hand))


def arm_mjcf() -> str:
    """Return the arm, hand and wrist camera as MJCF text."""
    radius, start, end = BASE_CAPSULE
    body = _hand_mjcf()
    rows = zip(DH_TABLE, ARM_JOINTS, Q_LOWER, Q_UPPER, LINK_CAPSULES, strict=True)
    for (a, alpha, d), name, low, high, link in reversed(list(rows)):
        mass, thick, bottom, top = link
        at = text(a, -d * math.sin(alpha), d * math.cos(alpha))
        ends = f"{text(*bottom)} {text(*top)}"
        body = link_mjcf(
            name,
            f'pos="{at}" quat="{text(math.cos(alpha / 2), math.sin(alpha / 2), 0, 0)}"',
            f'range="{low} {high}" armature="{ROTOR_INERTIA}"',
            (
                f'type="capsule" fromto="{ends}" size="{thick}" mass="{mass}"',
                f'type="cylinder" size="{thick + 0.006} 0.030" mass="0.1" rgba="{DARK}"',
            ),
            body,
        )
    base = (
        f'type="cylinder" size="0.085 0.02" pos="0 0 0.02" rgba="{DARK}"',
        f'type="capsule" fromto="{text(*start)} {text(*end)}" size="{radius}" mass="3"',
    )
    return model_mjcf("franka", FINGER_TRAVEL_M, base, body)


def _hand_mjcf() -> str:
    """Return the hand: TCP site, wrist camera and two finger slides along the hand's y axis."""
    turn = text(math.cos(math.pi / 8), 0, 0, -math.sin(math.pi / 8))
    tilt = 0.34
    view = text(0, 1, 0, math.cos(tilt), 0, math.sin(tilt))
    finger = """
  <body name="finger{n}" gravcomp="1" pos="0 0 0.0584" quat="{quat}">
    <joint class="finger" name="finger_joint{n}" axis="0 1 0"/>
    <geom class="finger" size="0.0105 0.005 0.027" pos="0 0.005 0.027" mass="0.03"/>
  </body>"""
    return f"""
<body name="hand" gravcomp="1" pos="0 0 {FLANGE_M}" quat="{turn}">
  <geom class="look" type="box" size="0.030 0.095 0.027" pos="0 0 0.030" mass="0.6"/>
  <geom class="look" type="box" size="0.012 0.014 0.010" pos="0.055 0 0.012" mass="0.05"
        rgba="{DARK}"/>
  <site name="{TCP_SITE}" pos="0 0 {HAND_TCP_M}" size="0.005" rgba="0 0 0 0"/>
  <camera name="{WRIST_CAMERA}" pos="0.065 0 0.038" xyaxes="{view}" fovy="72"/>
  {finger.format(n=1, quat="1 0 0 0")}
  {finger.format(n=2, quat="0 0 0 1")}
</body>"""


def arm_spec(arm_model: Path | None = None) -> mujoco.MjSpec:
    """Return the arm as an editable model with our servos on its joints.

    Args:
        arm_model: an MJCF file whose look replaces ours; it must name the seven joints, the two
            finger slides, the site ``tcp`` and the camera ``wrist_cam``. Its own actuators are
            dropped, so that the arm's dynamics under command stay those of the twin.

    Raises:
        ConfigError: when the file cannot be read or lacks one of the names.
    """
    mujoco = import_mujoco()
    if arm_model is None:
        spec = mujoco.MjSpec.from_string(arm_mjcf())
    else:
        spec = _user_spec(arm_model)
    add_servos(spec, ARM_JOINTS, STIFFNESS, TORQUE_LIMIT_NM, FINGER_FORCE_N)
    return spec


def _user_spec(path: Path) -> mujoco.MjSpec:
    """Load a user's arm and check that it has the names that the twin drives."""
    mujoco = import_mujoco()
    try:
        spec = mujoco.MjSpec.from_file(str(path))
    except (ValueError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"The arm model {path} cannot be read",
            got=str(error).strip().splitlines()[-1],
            expected="an MJCF file",
        ) from error
    names = {
        "joint": {joint.name for joint in spec.joints},
        "site": {site.name for site in spec.sites},
        "camera": {camera.name for camera in spec.cameras},
    }
    wanted = [("joint", name) for name in (*ARM_JOINTS, *FINGER_JOINTS)]
    wanted += [("site", TCP_SITE), ("camera", WRIST_CAMERA)]
    missing = [f"{kind} {name}" for kind, name in wanted if name not in names[kind]]
    if missing:
        raise ConfigError(
            f"The arm model {path} lacks names that the twin drives",
            got=f"no {', no '.join(missing)}",
            expected="all of the valid names",
            choices=[f"{kind} {name}" for kind, name in wanted],
        )
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    for key in list(spec.keys):
        spec.delete(key)
    _refuse_another_arm(spec, path)
    return spec


def _refuse_another_arm(spec: mujoco.MjSpec, path: Path) -> None:
    """Raise a ConfigError where the TCP of a user's arm is elsewhere than the table's."""
    mujoco = import_mujoco()
    model = spec.compile()
    data = mujoco.MjData(model)
    for q in (HOME_Q, _BENT_Q):
        for name, angle in zip(ARM_JOINTS, q, strict=True):
            data.qpos[model.joint(name).qposadr[0]] = angle
        mujoco.mj_kinematics(model, data)
        away = data.site(TCP_SITE).xpos - forward_kinematics(np.array(q))[:3, 3]
        if not np.linalg.norm(away) <= SAME_TCP_M:
            raise ConfigError(
                f"The arm model {path} is another arm than the Franka",
                got=f"its TCP is {1e3 * float(np.linalg.norm(away)):.1f} mm away at q = {q}",
                expected=f"the look of a Franka, its TCP {1e3 * HAND_TCP_M:.1f} mm from the flange",
            )
