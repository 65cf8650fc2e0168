"""Bounds of the limits themselves: no configuration can set 100 m or 24 h.

The numbers are those of the fastest arms that a person still shares a table with; a limit beyond
them is a slip of the keyboard, not a wish.
"""

from __future__ import annotations

from dvla.runtime.errors import ConfigError
from dvla.runtime.limits import ArmLimits, CartesianLimits, JointLimits, Workspace

CARTESIAN_BOUNDS: dict[str, tuple[float, float, str]] = {
    "linear_velocity": (0.001, 3.0, "m/s"),
    "linear_acceleration": (0.01, 15.0, "m/s2"),
    "linear_jerk": (0.1, 5000.0, "m/s3"),
    "angular_velocity": (0.001, 4.0, "rad/s"),
    "angular_acceleration": (0.01, 25.0, "rad/s2"),
    "angular_jerk": (0.1, 10000.0, "rad/s3"),
}
"""Lowest and highest value of each Cartesian limit."""

SCALAR_BOUNDS: dict[str, tuple[float, float, str]] = {
    "max_command_age_s": (0.01, 0.5, "s"),
    "max_observation_age_s": (0.05, 5.0, "s"),
    "max_start_distance_m": (0.0001, 0.02, "m"),
    "max_start_angle_rad": (0.001, 0.2, "rad"),
}
"""Lowest and highest value of each plain limit."""

JOINT_BOUNDS: dict[str, tuple[float, float, str]] = {
    "velocity": (0.01, 12.0, "rad/s"),
    "acceleration": (0.1, 500.0, "rad/s2"),
    "jerk": (1.0, 200_000.0, "rad/s3"),
}
"""Lowest and highest value of each limit of a joint."""

JOINT_SCALAR_BOUNDS: dict[str, tuple[float, float, str]] = {
    "margin_rad": (0.0, 0.5, "rad"),
    "min_manipulability": (0.0, 0.2, ""),
    "self_clearance_m": (0.0, 0.2, "m"),
    "plane_clearance_m": (0.0, 0.2, "m"),
    "max_miss_m": (0.0001, 0.05, "m"),
    "max_miss_rad": (0.001, 0.8, "rad"),
}

GRIPPER_BOUNDS: dict[str, tuple[float, float, str]] = {
    "hysteresis": (0.01, 0.9, ""),
    "dwell_s": (0.02, 5.0, "s"),
}

WORKSPACE_REACH_M = 2.0
"""No side of a workspace lies further from the robot's base."""


def check_limits(limits: ArmLimits) -> None:
    """Raise a ConfigError unless every limit lies within its own bounds.

    Raises:
        ConfigError: names the limit, its value and its bounds.
    """
    for group in ("envelope", "shaper"):
        values: CartesianLimits = getattr(limits, group)
        for name, (low, high, unit) in CARTESIAN_BOUNDS.items():
            _require(f"{group}.{name}", getattr(values, name), low, high, unit)
    for name in CARTESIAN_BOUNDS:
        # A shaper that aims beyond the envelope has its own commands refused for ever.
        ceiling = getattr(limits.envelope, name)
        _require(f"shaper.{name}", getattr(limits.shaper, name), 0.0, ceiling, "(the envelope's)")
    for name, (low, high, unit) in SCALAR_BOUNDS.items():
        _require(name, getattr(limits, name), low, high, unit)
    for name, (low, high, unit) in GRIPPER_BOUNDS.items():
        _require(f"gripper.{name}", getattr(limits.gripper, name), low, high, unit)
    _check_workspace(limits.workspace)
    if limits.joints is not None:
        _check_joints(limits.joints)


def _check_joints(joints: JointLimits) -> None:
    count = len(joints.geometry.rows)
    for name in ("lower", "upper", *JOINT_BOUNDS):
        values = getattr(joints, name)
        if len(values) != count:
            raise ConfigError(
                f"joints.{name} has another length than the arm has joints",
                got=str(len(values)),
                expected=str(count),
            )
    for index, (low, high) in enumerate(zip(joints.lower, joints.upper, strict=True), 1):
        if not low + 2.0 * joints.margin_rad < high:
            raise ConfigError(
                f"the range of joint {index} is empty",
                got=f"{low} to {high} rad with a margin of {joints.margin_rad} rad",
                expected="lower + 2 margins < upper",
            )
    for name, (low, high, unit) in JOINT_BOUNDS.items():
        for index, value in enumerate(getattr(joints, name), 1):
            _require(f"joints.{name} of joint {index}", value, low, high, unit)
    for name, (low, high, unit) in JOINT_SCALAR_BOUNDS.items():
        _require(f"joints.{name}", getattr(joints, name), low, high, unit)
    for plane in joints.planes:
        norm = sum(part * part for part in plane.normal) ** 0.5
        _require(f"the normal of plane {plane.name!r}", norm, 1.0 - 1e-6, 1.0 + 1e-6, "(its norm)")
        _require(f"the offset of plane {plane.name!r}", plane.offset_m, -2.0, 2.0, "m")


def _check_workspace(workspace: Workspace) -> None:
    for axis, low, high in zip("xyz", workspace.lower, workspace.upper, strict=True):
        _require(f"workspace.lower.{axis}", low, -WORKSPACE_REACH_M, WORKSPACE_REACH_M, "m")
        _require(f"workspace.upper.{axis}", high, -WORKSPACE_REACH_M, WORKSPACE_REACH_M, "m")
        if not low < high:
            raise ConfigError(
                f"workspace.{axis} is empty", got=f"{low} to {high} m", expected="lower < upper"
            )


def _require(name: str, value: float, low: float, high: float, unit: str) -> None:
    # Written so that NaN fails as well.
    if not low <= value <= high:
        raise ConfigError(f"{name} is out of bounds", got=value, expected=f"{low} to {high} {unit}")
