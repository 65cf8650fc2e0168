"""Franka (FR3, Panda): limits shipped for the real arm, and for its twin.

The maker's Cartesian bounds are 3.0 m/s, 9.0 m/s2, 4500 m/s3, 2.5 rad/s, 17 rad/s2 and 8500 rad/s3
(FR3 data sheet), but its joints bind first: 10 rad/s2 and 2.62 rad/s of a joint are, at the median
of the workspace, 2.3 m/s2 and 0.6 m/s of the TCP. The envelope is what the joints can do there;
where they can do less, the gate refuses by joint.
"""

from __future__ import annotations

import msgspec

from dvla.runtime.limits import ArmLimits, CartesianLimits, Workspace
from dvla.runtime.robots.franka_geometry import FRANKA_JOINTS, FRANKA_TWIN_JOINTS

FRANKA_LIMITS = ArmLimits(
    envelope=CartesianLimits(
        linear_velocity=0.6,
        linear_acceleration=2.5,
        linear_jerk=100.0,
        angular_velocity=1.2,
        angular_acceleration=4.0,
        angular_jerk=200.0,
    ),
    shaper=CartesianLimits(
        linear_velocity=0.5,
        linear_acceleration=2.0,
        linear_jerk=60.0,
        angular_velocity=1.0,
        angular_acceleration=3.0,
        angular_jerk=130.0,
    ),
    # Without latency-aware streaming the last action of a waiting chunk is two chunks old.
    max_observation_age_s=2.0,
    workspace=Workspace(lower=(0.2, -0.55, 0.005), upper=(0.75, 0.55, 0.75)),
    joints=FRANKA_JOINTS,
)

FRANKA_TWIN_LIMITS = msgspec.structs.replace(
    FRANKA_LIMITS,
    envelope=CartesianLimits(
        linear_velocity=1.2,
        linear_acceleration=8.0,
        linear_jerk=400.0,
        angular_velocity=2.0,
        angular_acceleration=12.0,
        angular_jerk=600.0,
    ),
    shaper=CartesianLimits(
        linear_velocity=1.1,
        linear_acceleration=7.0,
        linear_jerk=250.0,
        angular_velocity=1.8,
        angular_acceleration=10.0,
        angular_jerk=400.0,
    ),
    joints=FRANKA_TWIN_JOINTS,
)
"""The maker's Cartesian bounds with some room; the twin's joints can do what that asks for."""

FRANKA_START = (0.4, 0.0, 0.28, 3.141593, 0.0, 0.0)
"""Above the middle of the table, the hand downwards: where the twin's episodes start."""
