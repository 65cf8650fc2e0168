"""Limits of an arm: what the shaper aims for, what the envelope enforces, and their own bounds."""

from __future__ import annotations

import msgspec


class CartesianLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Norm bounds of TCP motion [m/s, m/s2, m/s3, rad/s, rad/s2, rad/s3]."""

    linear_velocity: float
    linear_acceleration: float
    linear_jerk: float
    angular_velocity: float
    angular_acceleration: float
    angular_jerk: float


class Workspace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An axis-aligned box of TCP positions in the robot base frame [m]."""

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]


class ArmLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the gate of one arm enforces.

    Attributes:
        envelope: what the arm controller enforces on commands.
        shaper: what the servo aims for; inside the envelope.
        workspace: where the TCP may be.
        max_command_age_s: newest minus oldest acceptable age of a command at the arm.
        max_observation_age_s: oldest observation that may still move the arm.
        max_start_distance_m / max_start_angle_rad: how far the first setpoint of a command may be
            from the pose that the arm commands at its due time.
    """

    envelope: CartesianLimits
    shaper: CartesianLimits
    workspace: Workspace
    max_command_age_s: float = 0.1
    max_observation_age_s: float = 1.2
    max_start_distance_m: float = 0.005
    max_start_angle_rad: float = 0.05
