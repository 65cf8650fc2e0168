"""A Franka for franka-sim: the kinematics, capsules and masses of our own twin, under its names.

python franka_sim_model.py FILE writes it; FR3_MJCF=FILE has the server load it.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from dvla.runtime.twin.arm_model import (
    BASE_CAPSULE,
    DH_TABLE,
    FLANGE_M,
    LINK_CAPSULES,
    Q_LOWER,
    Q_UPPER,
)

ARMATURE, DAMPING = 0.5, 1.0
APART = 3
"""Links that are nearer to each other in the chain are no collision to the server either."""


def capsule(link: int, radius: float, start: tuple[float, ...], end: tuple[float, ...]) -> str:
    """Return the capsule of a link, named so that the server looks for collisions of it."""
    ends = " ".join(f"{value:.9g}" for value in (*start, *end))
    return f'<geom name="fr3_link{link}_collision" type="capsule" fromto="{ends}" size="{radius}"'


def mjcf() -> str:
    """Return the arm with the names of joints, bodies and geoms that the server looks for."""
    body = f"""<body name="fr3_link8" pos="0 0 {FLANGE_M}">
      <inertial pos="0 0 0" mass="0.1" diaginertia="1e-4 1e-4 1e-4"/>
      <site name="attachment_site"/></body>"""
    rows = list(zip(range(1, 8), DH_TABLE, Q_LOWER, Q_UPPER, LINK_CAPSULES, strict=True))
    for link, (a, alpha, d), low, high, (mass, *shape) in reversed(rows):
        place = (a, -d * math.sin(alpha), d * math.cos(alpha))
        turn = (math.cos(alpha / 2), math.sin(alpha / 2), 0.0, 0.0)
        body = f"""<body name="fr3_link{link}"
      pos="{" ".join(f"{v:.9g}" for v in place)}" quat="{" ".join(f"{v:.12g}" for v in turn)}">
      <joint name="fr3_joint{link}" axis="0 0 1" range="{low} {high}" armature="{ARMATURE}"
        damping="{DAMPING}"/>
      {capsule(link, *shape)} mass="{mass}"/>
      {body}</body>"""
    excluded = "".join(
        f'<exclude body1="fr3_link{one}" body2="fr3_link{other}"/>'
        for one in range(8)
        for other in range(one + 1, min(one + APART, 8))
    )
    return f"""<mujoco model="fr3"><compiler angle="radian" autolimits="true"/>
  <contact>{excluded}</contact>
  <worldbody><body name="fr3_link0">{capsule(0, *BASE_CAPSULE)} mass="3"/>
  {body}</body></worldbody></mujoco>"""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(mjcf())
