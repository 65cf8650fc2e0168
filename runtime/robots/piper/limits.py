"""The limits shipped for the PiPER.

The maker gives a reach of 0.626 m, 180 to 225 deg/s a joint and, as the firmware's default,
5 rad/s2 a joint: at half a metre that is 2.5 m/s2. Its joints turn 5.7 rad per metre of the TCP at
the median of the workspace, so that 3 rad/s are 0.45 m/s with some room for attitude.
"""

from __future__ import annotations

from dvla.runtime.limits import ArmLimits, CartesianLimits, Workspace
from dvla.runtime.robots.piper.joints import PIPER_JOINTS

PIPER_LIMITS = ArmLimits(
    envelope=CartesianLimits(
        linear_velocity=0.45,
        linear_acceleration=2.5,
        linear_jerk=80.0,
        angular_velocity=1.2,
        angular_acceleration=6.0,
        angular_jerk=200.0,
    ),
    shaper=CartesianLimits(
        linear_velocity=0.4,
        linear_acceleration=2.2,
        linear_jerk=50.0,
        angular_velocity=1.0,
        angular_acceleration=5.0,
        angular_jerk=130.0,
    ),
    # As for the Franka: the last action of a chunk that waited is two chunks old.
    max_observation_age_s=2.0,
    workspace=Workspace(lower=(0.10, -0.35, 0.005), upper=(0.55, 0.35, 0.50)),
    joints=PIPER_JOINTS,
)
"""Every corner of the workspace is within reach of the TCP; in which attitudes, IK finds out."""
