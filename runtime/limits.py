"""Limits of an arm: what the shaper aims for, what the envelope enforces, and their own bounds."""

from __future__ import annotations

import msgspec

from dvla.runtime.geometry import ArmGeometry, KeepOutPlane


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


class JointLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the joints of an arm may do, judged on the inverse kinematics of each command.

    Attributes:
        geometry: of the arm.
        lower / upper: range of each joint [rad]; commands stay ``margin_rad`` away from its ends.
        velocity / acceleration / jerk: bound of each joint [rad/s, rad/s2, rad/s3].
        min_manipulability: smallest sqrt(det(J J^T)); less is too near to a singularity.
        self_clearance_m: least distance between links that are no neighbours.
        plane_clearance_m: least distance of the links to every plane.
        max_miss_m / max_miss_rad: how far the TCP of the joints may be from the setpoint.
        planes: that no link may pass.
    """

    geometry: ArmGeometry
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    velocity: tuple[float, ...]
    acceleration: tuple[float, ...]
    jerk: tuple[float, ...]
    margin_rad: float = 0.02
    min_manipulability: float = 0.0
    self_clearance_m: float = 0.0
    plane_clearance_m: float = 0.0
    max_miss_m: float = 0.01
    max_miss_rad: float = 0.1
    planes: tuple[KeepOutPlane, ...] = ()


class GripperLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How firmly and how often a gripper is told to open or to close.

    Attributes:
        hysteresis: an opening above it opens, one below its negative closes, one between them
            changes nothing. It is the band in which engines of reduced precision may differ in
            sign from the model that was trained.
        dwell_s: shortest time between two decisions; fingers need about as long to let go.
    """

    hysteresis: float = 0.1
    dwell_s: float = 0.2


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
        joints: what its joints may do; None judges the TCP alone.
        gripper: when it opens and closes.
    """

    envelope: CartesianLimits
    shaper: CartesianLimits
    workspace: Workspace
    max_command_age_s: float = 0.1
    max_observation_age_s: float = 1.2
    max_start_distance_m: float = 0.005
    max_start_angle_rad: float = 0.05
    joints: JointLimits | None = None
    gripper: GripperLimits = GripperLimits()


SLOW = CartesianLimits(
    linear_velocity=0.1,
    linear_acceleration=0.3,
    linear_jerk=2.0,
    angular_velocity=0.3,
    angular_acceleration=0.9,
    angular_jerk=6.0,
)
"""The envelope of a slow move: a person can follow it with the eye, and has time to let the
enabling device go."""


def slow_envelope(envelope: CartesianLimits) -> CartesianLimits:
    """Return the envelope of a slow move of an arm: no limit of it is above the arm's own."""
    names = CartesianLimits.__struct_fields__
    return CartesianLimits(
        **{name: min(getattr(SLOW, name), getattr(envelope, name)) for name in names}
    )
