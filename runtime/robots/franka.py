"""Franka (FR3, Panda): limits shipped for the real arm, used on its twin as well.

The maker's Cartesian bounds are 3.0 m/s, 9.0 m/s2, 4500 m/s3, 2.5 rad/s, 17 rad/s2 and 8500 rad/s3
(FR3 data sheet); the envelope stays well inside them.
"""

from __future__ import annotations

from dvla.runtime.limits import ArmLimits, CartesianLimits, Workspace

FRANKA_LIMITS = ArmLimits(
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
    # Without latency-aware streaming the last action of a waiting chunk is two chunks old.
    max_observation_age_s=2.0,
    workspace=Workspace(lower=(0.2, -0.55, 0.005), upper=(0.75, 0.55, 0.75)),
)

FRANKA_START = (0.4, 0.0, 0.28, 3.141593, 0.0, 0.0)
"""Above the middle of the table, the hand downwards: where the twin's episodes start."""
