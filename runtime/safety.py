"""The gate: pure functions that say whether one command may reach the driver.

A command is accepted whole or refused whole. Nothing is ever clamped into a valid-looking target,
because a command that needs clamping comes from something that has gone wrong. Each check returns
``ACCEPTED`` or a ``Verdict`` whose reason is one of ``REASONS``.

Differences are taken along the knots that are already being played and go on into the command, so
continuity with the motion in progress is no special case. The spline that is played lies in the
convex hull of those differences (``dvla.runtime.playback``): what is checked holds at every
instant.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from dvla.runtime.limits import ArmLimits, CartesianLimits
from dvla.runtime.messages import SCHEMA, Command
from dvla.runtime.pose import Float64
from dvla.runtime.rotation import rotation_between
from dvla.runtime.stopping import (
    PATH_C1_END,
    PATH_C2_END,
    limits_by_order,
    stop_duration,
    stop_peak_speed,
)

RefusedMode = Literal["", "hold", "stopping", "fault", "shutdown"]

REASONS = (
    "schema",
    "lease",
    "order",
    "epoch",
    "hold",
    "stopping",
    "fault",
    "shutdown",
    "early",
    "late",
    "expired",
    "validity",
    "observation_age",
    "period",
    "grid",
    "gap",
    "size",
    "non_finite",
    "quaternion",
    "gripper",
    "workspace",
    "start",
    "linear_velocity",
    "angular_velocity",
    "linear_acceleration",
    "angular_acceleration",
    "linear_jerk",
    "angular_jerk",
    "stop_speed",
    "stop_workspace",
    "unobserved_motion",
    "joint_position",
    "joint_velocity",
    "joint_acceleration",
    "joint_jerk",
    "unreachable",
    "singularity",
    "self_collision",
    "plane",
)
"""Every reason for which a command is refused."""

MOTION_REASONS = frozenset(REASONS[REASONS.index("non_finite") :])
"""Those that say of the motion that it is not to be; the others say who may ask, and when."""

QUIET_REASONS = frozenset({"epoch", "hold", "stopping"})
"""What a stop makes of the commands still in flight; counted, but no alarm."""

MIN_PERIOD_NS = 1_000_000
MAX_PERIOD_NS = 50_000_000
QUATERNION_TOLERANCE = 1e-6
FUTURE_TOLERANCE_NS = 5_000_000
"""How far in the future a capture time may lie: stamps of one host differ by less."""
RELATIVE_TOLERANCE = 1e-6
STOP_PATH_MARGIN = 1.05
"""Stops are checked at knots, and may begin between them: their box is taken 5 % larger."""
REST_M = 1e-6
REST_RAD = 1e-5


class Verdict(msgspec.Struct, frozen=True):
    """What the gate says of a command.

    Attributes:
        reason: empty when accepted, else one of ``REASONS``.
        detail: the value and the bound, for people.
    """

    reason: str = ""
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether the command may be played."""
        return not self.reason


ACCEPTED = Verdict()


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the arm holds against a command's header.

    Attributes:
        lease_session: the commander's session, 0 when there is none.
        command_sequence: newest accepted, -1 when none.
        arm_epoch: the arm's epoch.
        refused_mode: why nothing is accepted at all now; empty when commands are.
    """

    lease_session: int
    command_sequence: int
    arm_epoch: int
    refused_mode: RefusedMode = ""


def check_header(command: Command, standing: Standing, now_ns: int, limits: ArmLimits) -> Verdict:
    """Check who sent a command, in which order, for which epoch, and when it is due."""
    if command.schema != SCHEMA:
        return Verdict("schema", f"{command.schema}, this arm speaks {SCHEMA}")
    if command.session != standing.lease_session or not command.session:
        return Verdict("lease", f"session {command.session} does not hold the lease")
    if standing.refused_mode:
        return Verdict(standing.refused_mode)
    if command.arm_epoch != standing.arm_epoch:
        return Verdict("epoch", f"{command.arm_epoch}, the arm's is {standing.arm_epoch}")
    if command.sequence <= standing.command_sequence:
        return Verdict("order", f"{command.sequence} after {standing.command_sequence}")
    return _check_times(command, now_ns, limits)


def _check_times(command: Command, now_ns: int, limits: ArmLimits) -> Verdict:
    max_age_ns = int(limits.max_command_age_s * 1e9)
    age_ns = now_ns - command.t_due_ns
    if age_ns > max_age_ns:
        return Verdict("late", f"due {age_ns / 1e6:.1f} ms ago")
    if age_ns < -max_age_ns:
        return Verdict("early", f"due in {-age_ns / 1e6:.1f} ms")
    if now_ns > command.valid_until_ns:
        return Verdict("expired", f"{(now_ns - command.valid_until_ns) / 1e6:.1f} ms ago")
    if command.valid_until_ns - command.t_due_ns > max_age_ns:
        return Verdict("validity", "valid for longer than this arm's greatest command age")
    if not MIN_PERIOD_NS <= command.period_ns <= MAX_PERIOD_NS:
        return Verdict("period", f"{command.period_ns} ns")
    observed_ns = now_ns - command.t_obs_ns
    if command.t_obs_ns and not (
        -FUTURE_TOLERANCE_NS <= observed_ns <= limits.max_observation_age_s * 1e9
    ):
        return Verdict("observation_age", f"{observed_ns / 1e6:.1f} ms")
    return ACCEPTED


def check_values(setpoints: Float64, t_obs_ns: int, limits: ArmLimits) -> Verdict:
    """Check every setpoint (n, 8) on its own: finite, a pose, a gripper, inside the workspace.

    A command without an observation behind it (``t_obs_ns`` 0) may hold the arm, never move it.
    """
    if not np.isfinite(setpoints).all():
        return Verdict("non_finite")
    norms = np.einsum("ij,ij->i", setpoints[:, 3:7], setpoints[:, 3:7])
    worst = float(np.abs(norms - 1.0).max())
    if worst > 2.0 * QUATERNION_TOLERANCE:
        return Verdict("quaternion", f"norm is off by {worst / 2.0:.2g}")
    opening = float(np.abs(setpoints[:, 7]).max())
    if opening > 1.0 + RELATIVE_TOLERANCE:
        return Verdict("gripper", f"{opening:.4g} is outside [-1, 1]")
    outside = _outside(setpoints[:, :3], limits)
    if outside:
        return Verdict("workspace", outside)
    if not t_obs_ns:
        moved = setpoints[:, :7] - setpoints[0, :7]
        if np.abs(moved[:, :3]).max() > REST_M or np.abs(moved[:, 3:]).max() > REST_RAD:
            return Verdict("unobserved_motion", "motion without an observation behind it")
    return ACCEPTED


def _outside(position: Float64, limits: ArmLimits) -> str:
    """Return a sentence on the worst position outside the workspace, or an empty string."""
    below = np.asarray(limits.workspace.lower) - position
    above = position - np.asarray(limits.workspace.upper)
    excess = np.maximum(below, above)
    if excess.max() <= 0.0:
        return ""
    row, axis = divmod(int(excess.argmax()), 3)
    return f"{'xyz'[axis]} = {position[row, axis]:.4f} m, {excess[row, axis] * 1e3:.1f} mm outside"


def check_start(kept: Float64, first: Float64, limits: ArmLimits) -> Verdict:
    """Check that a command begins where the motion in progress leads at its due time.

    Args:
        kept: (>= 3, 8) knots that are played before the command's first used row.
        first: (8,) that row.
        limits: the arm's.
    """
    # The motion in progress, continued with its velocity and acceleration.
    expected = 3.0 * kept[-1, :3] - 3.0 * kept[-2, :3] + kept[-3, :3]
    distance_m = float(np.sqrt(np.sum((first[:3] - expected) ** 2)))
    if distance_m > limits.max_start_distance_m:
        return Verdict("start", f"{distance_m * 1e3:.1f} mm from the commanded pose")
    turns = rotation_between(kept[-3:-1, 3:7], kept[-2:, 3:7])
    turn = rotation_between(kept[-1, 3:7], first[3:7])
    angle_rad = float(np.sqrt(np.sum((turn - (2.0 * turns[1] - turns[0])) ** 2)))
    if angle_rad > limits.max_start_angle_rad:
        return Verdict("start", f"{np.degrees(angle_rad):.2f} deg from the commanded pose")
    return ACCEPTED


_ORDERS = ("velocity", "acceleration", "jerk")
_PARTS = ("linear", "angular")
_UNITS = (("m/s", "rad/s"), ("m/s2", "rad/s2"), ("m/s3", "rad/s3"))


def check_motion(
    kept: Float64,
    rows: Float64,
    period_s: float,
    limits: ArmLimits,
    envelope: CartesianLimits | None = None,
) -> Verdict:
    """Check velocity, acceleration and jerk along a command, and the stop from each of its knots.

    Args:
        kept: (>= 3, 8) knots that are played before the command's first used row.
        rows: (n, 8) the rows that would be used.
        period_s: spacing of the knots [s].
        limits: the arm's; every stop is as short as they allow.
        envelope: what the motion has to keep, inside the arm's own, which is the default. Stops
            keep its speeds as well.
    """
    path = np.concatenate([kept[-3:], rows])
    bounds = limits_by_order(envelope or limits.envelope)
    velocity = np.empty((len(path) - 1, 2, 3))
    velocity[:, 0] = path[1:, :3] - path[:-1, :3]
    velocity[:, 1] = rotation_between(path[:-1, 3:7], path[1:, 3:7])
    velocity /= period_s
    acceleration = (velocity[1:] - velocity[:-1]) / period_s
    jerk = (acceleration[1:] - acceleration[:-1]) / period_s
    for order, values in enumerate((velocity, acceleration, jerk)):
        worst = np.sqrt(np.einsum("nij,nij->ni", values, values).max(axis=0))
        for part in (0, 1):
            if worst[part] > bounds[order, part] * (1.0 + RELATIVE_TOLERANCE):
                return Verdict(
                    f"{_PARTS[part]}_{_ORDERS[order]}",
                    f"{worst[part]:.4g} over {bounds[order, part]:g} {_UNITS[order][part]}",
                )
    position = (path[:-2, :3] + 4.0 * path[1:-1, :3] + path[2:, :3]) / 6.0
    middle = (velocity[1:] + velocity[:-1]) / 2.0
    return _check_stops(position, middle, acceleration, limits, bounds[0])


def _check_stops(
    position: Float64,
    velocity: Float64,
    acceleration: Float64,
    limits: ArmLimits,
    speeds: Float64,
) -> Verdict:
    """Check that the stop from each state stays inside the speed bound and the workspace.

    The box of each stop is spanned by the two ends of its path terms (``dvla.runtime.stopping``),
    axis by axis: it contains the whole stop, so a state that passes can be stopped at any time.
    """
    bounds = limits_by_order(limits.envelope)
    speed = np.sqrt(np.einsum("nij,nij->ni", velocity, velocity))
    change = np.sqrt(np.einsum("nij,nij->ni", acceleration, acceleration))
    duration = stop_duration(speed, np.minimum(change, bounds[1]), bounds)
    peak = stop_peak_speed(velocity, acceleration, duration).max(axis=0)
    for part in (0, 1):
        if peak[part] > speeds[part] * (1.0 + RELATIVE_TOLERANCE):
            return Verdict("stop_speed", f"a stop would reach {peak[part]:.3g} {_UNITS[0][part]}")
    linear_s = duration[:, :1] * STOP_PATH_MARGIN
    coasting = velocity[:, 0] * linear_s * PATH_C1_END
    pushing = acceleration[:, 0] * linear_s**2 * PATH_C2_END
    upper = position + np.maximum(coasting, 0.0) + np.maximum(pushing, 0.0)
    lower = position + np.minimum(coasting, 0.0) + np.minimum(pushing, 0.0)
    outside = _outside(upper, limits) or _outside(lower, limits)
    return Verdict("stop_workspace", f"a stop would reach {outside}") if outside else ACCEPTED
