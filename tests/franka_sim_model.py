"""A Franka for franka-sim, of our own: the published kinematics, capsules, round masses.

python franka_sim_model.py FILE writes it; FR3_MJCF=FILE has the server load it.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from dvla.runtime.twin.arm_model import DH_TABLE, FLANGE_M, Q_LOWER, Q_UPPER

MASSES = (3.6, 3.4, 3.0, 2.8, 2.6, 1.5, 0.7)


def mjcf() -> str:
    """Return the arm with the joint and body names that the server looks for."""
    body = f"""<body name="fr3_link8" pos="0 0 {FLANGE_M}">
      <inertial pos="0 0 0" mass="0.1" diaginertia="1e-4 1e-4 1e-4"/>
      <site name="attachment_site"/></body>"""
    rows = list(zip(range(1, 8), DH_TABLE, Q_LOWER, Q_UPPER, MASSES, strict=True))
    for number, (a, alpha, d), low, high, mass in reversed(rows):
        place = (a, -d * math.sin(alpha), d * math.cos(alpha))
        turn = (math.cos(alpha / 2), math.sin(alpha / 2), 0.0, 0.0)
        body = f"""<body name="fr3_link{number}"
      pos="{" ".join(f"{v:.9g}" for v in place)}" quat="{" ".join(f"{v:.12g}" for v in turn)}">
      <joint name="fr3_joint{number}" axis="0 0 1" range="{low} {high}" armature="0.5" damping="1"/>
      <geom type="sphere" size="0.04" mass="{mass}" contype="0" conaffinity="0"/>
      {body}</body>"""
    return f"""<mujoco model="fr3"><compiler angle="radian" autolimits="true"/>
  <worldbody><body name="fr3_link0"><geom type="sphere" size="0.06" contype="0" conaffinity="0"/>
  {body}</body></worldbody></mujoco>"""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(mjcf())
