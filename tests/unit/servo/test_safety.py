"""The gate: one test per reason, and one mutant per check that its test notices."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from arm_doubles import HOME, LIMITS, MS
from mutants import mutant

from dvla.runtime import safety
from dvla.runtime.limits import ArmLimits, Workspace
from dvla.runtime.messages import Command
from dvla.runtime.pose import Float64

NOW = 5_000_000 * MS
PERIOD_S = 0.004
KEPT = np.repeat(HOME[None], 4, axis=0)
STANDING = safety.Standing(lease_session=7, command_sequence=10, arm_epoch=3)


def smooth(offset: tuple[float, float, float], rows: int = 60) -> Float64:
    """Return rows (n, 8) of a minimum-jerk move from HOME by ``offset`` [m]."""
    s = np.linspace(0.0, 1.0, rows)
    path = np.repeat(HOME[None], rows, axis=0)
    path[:, :3] += (10 * s**3 - 15 * s**4 + 6 * s**5)[:, None] * np.asarray(offset)
    return path


def turned(angles: Float64) -> Float64:
    """Return rows (n, 8) at HOME, turned about z by ``angles`` [rad]."""
    path = np.repeat(HOME[None], len(angles), axis=0)
    # exp(angle z) * (0, 1, 0, 0)
    path[:, 3:7] = np.stack(
        [0 * angles, np.cos(angles / 2), np.sin(angles / 2), 0 * angles], axis=1
    )
    return path


def polynomial(order: int, size: float, rows: int = 25) -> Float64:
    """Return values (rows,) that start at zero and grow with t^order / order! * size."""
    t = PERIOD_S * np.arange(1, rows + 1)
    return size * t**order / [1, 1, 2, 6][order]


def command(rows: Float64, **changes: Any) -> Command:
    base = Command(
        session=7,
        sequence=11,
        generation=0,
        t_obs_ns=NOW - 200 * MS,
        t_due_ns=NOW,
        valid_until_ns=NOW + 80 * MS,
        arm_epoch=3,
        period_ns=4 * MS,
        setpoints=rows.tobytes(),
    )
    return msgspec.structs.replace(base, **changes)


class Case(msgspec.Struct, frozen=True):
    """A command, what it is held against, and the reason for which it is refused."""

    reason: str
    rows: Callable[[], Float64] = lambda: smooth((0.02, 0.0, 0.0))
    header: dict[str, Any] = {}
    standing: dict[str, Any] = {}
    limits: ArmLimits = LIMITS
    kept: Callable[[], Float64] = lambda: KEPT


def edited(row: int, column: int, value: float) -> Callable[[], Float64]:
    def rows() -> Float64:
        path = smooth((0.02, 0.0, 0.0))
        path[row, column] = value
        return path

    return rows


def along_x(values: Float64) -> Float64:
    path = np.repeat(HOME[None], len(values), axis=0)
    path[:, 0] += values
    return path


def cruising(speed: float) -> Float64:
    """Return kept knots (4, 8) that move along x and end at HOME."""
    path = KEPT.copy()
    path[:, 0] += speed * PERIOD_S * np.arange(-3, 1)
    return path


def at(limits: ArmLimits = LIMITS, **envelope: float) -> ArmLimits:
    return msgspec.structs.replace(
        limits, envelope=msgspec.structs.replace(limits.envelope, **envelope)
    )


TIGHT = Workspace(lower=(0.2, -0.55, 0.005), upper=(0.5, 0.55, 0.75))
LOOSE = {
    "linear_velocity": 1e6,
    "linear_acceleration": 1e6,
    "linear_jerk": 1e9,
    "angular_velocity": 1e6,
    "angular_acceleration": 1e6,
    "angular_jerk": 1e9,
}


def only(**kept: float) -> ArmLimits:
    """Return limits of which only the named ones can be met."""
    wide = msgspec.structs.replace(LIMITS, max_start_distance_m=1.0, max_start_angle_rad=3.0)
    return at(wide, **{**LOOSE, **kept})


CASES: dict[str, Case] = {
    "schema": Case("schema", header={"schema": safety.SCHEMA + 1}),
    "session": Case("lease", header={"session": 8}),
    "no_commander": Case("lease", header={"session": 0}, standing={"lease_session": 0}),
    "duplicate": Case("order", header={"sequence": 10}),
    "reordered": Case("order", header={"sequence": 9}),
    "epoch": Case("epoch", header={"arm_epoch": 2}),
    "hold": Case("hold", standing={"refused_mode": "hold"}),
    "late": Case("late", header={"t_due_ns": NOW - 101 * MS, "valid_until_ns": NOW}),
    "early": Case("early", header={"t_due_ns": NOW + 101 * MS, "valid_until_ns": NOW + 150 * MS}),
    "expired": Case("expired", header={"t_due_ns": NOW - 50 * MS, "valid_until_ns": NOW - 1}),
    "validity": Case("validity", header={"valid_until_ns": NOW + 101 * MS}),
    "period_short": Case("period", header={"period_ns": 999_999}),
    "period_long": Case("period", header={"period_ns": 51 * MS}),
    "old_observation": Case("observation_age", header={"t_obs_ns": NOW - 2001 * MS}),
    "future_observation": Case("observation_age", header={"t_obs_ns": NOW + 6 * MS}),
    "nan": Case("non_finite", rows=edited(59, 7, np.nan)),
    "infinite": Case("non_finite", rows=edited(3, 0, np.inf)),
    "quaternion": Case("quaternion", rows=edited(8, 4, 1.001)),
    "gripper": Case("gripper", rows=edited(59, 7, -1.01)),
    "workspace": Case("workspace", rows=edited(59, 2, 0.004)),
    "unobserved": Case("unobserved_motion", header={"t_obs_ns": 0}),
    "start_distance": Case("start", rows=lambda: smooth((0.02, 0.0, 0.0)) + 0.006 * np.eye(8)[1]),
    "start_angle": Case("start", rows=lambda: turned(np.full(25, 0.06))),
    "start_stands_still": Case(
        "start", kept=lambda: cruising(1.5), rows=lambda: along_x(0 * polynomial(1, 0))
    ),
    "linear_velocity": Case(
        "linear_velocity",
        rows=lambda: along_x(polynomial(1, 1.3)),
        limits=only(linear_velocity=1.2),
    ),
    "linear_acceleration": Case(
        "linear_acceleration",
        rows=lambda: along_x(polynomial(2, 9.0)),
        limits=only(linear_acceleration=8.0),
    ),
    "linear_jerk": Case(
        "linear_jerk", rows=lambda: along_x(polynomial(3, 450.0)), limits=only(linear_jerk=400.0)
    ),
    "angular_velocity": Case(
        "angular_velocity",
        rows=lambda: turned(polynomial(1, 2.1)),
        limits=only(angular_velocity=2.0),
    ),
    "angular_acceleration": Case(
        "angular_acceleration",
        rows=lambda: turned(polynomial(2, 13.0)),
        limits=only(angular_acceleration=12.0),
    ),
    "angular_jerk": Case(
        "angular_jerk", rows=lambda: turned(polynomial(3, 650.0)), limits=only(angular_jerk=600.0)
    ),
    "linear_seam": Case(
        "linear_acceleration", kept=lambda: cruising(0.5), rows=lambda: smooth((0.02, 0, 0))
    ),
    "stop_speed": Case(
        "stop_speed",
        rows=lambda: along_x(polynomial(3, 300.0, 6)),
        limits=at(linear_velocity=0.085),
    ),
    "stop_workspace": Case(
        "stop_workspace",
        rows=lambda: smooth((0.06, 0.0, 0.0))[:33],
        limits=msgspec.structs.replace(LIMITS, workspace=TIGHT),
    ),
}


def judge(gate: ModuleType, case: Case) -> str:
    """Pass a case through every check, in the controller's order; return the reason."""
    rows, kept = case.rows(), case.kept()
    message = command(rows, **case.header)
    standing = msgspec.structs.replace(STANDING, **case.standing)
    for verdict in (
        lambda: gate.check_header(message, standing, NOW, case.limits),
        lambda: gate.check_values(rows, message.t_obs_ns, case.limits),
        lambda: gate.check_start(kept, rows[0], case.limits),
        lambda: gate.check_motion(kept, rows, PERIOD_S, case.limits),
    ):
        reason: str = verdict().reason
        if reason:
            return reason
    return ""


def test_a_smooth_command_is_accepted() -> None:
    assert judge(safety, Case("")) == ""
    assert judge(safety, Case("", rows=lambda: smooth((0.06, 0.0, 0.0)))) == ""


@pytest.mark.parametrize("name", CASES)
def test_the_gate_refuses(name: str) -> None:
    assert judge(safety, CASES[name]) == CASES[name].reason
    assert CASES[name].reason in safety.REASONS


JUDGED = "(velocity, acceleration, jerk))"
BOTH_PARTS = "for part in (0, 1):\n            if worst"

MUTANTS: list[tuple[str, str, str]] = [
    ("schema", "command.schema != SCHEMA", "False"),
    ("session", "command.session != standing.lease_session or", ""),
    ("no_commander", "or not command.session", ""),
    ("hold", "if standing.refused_mode:", "if False:"),
    ("epoch", "command.arm_epoch != standing.arm_epoch", "False"),
    ("duplicate", "command.sequence <= standing", "command.sequence < standing"),
    ("reordered", "command.sequence <= standing.command_sequence", "False"),
    ("late", "if age_ns > max_age_ns:", "if False:"),
    ("early", "if age_ns < -max_age_ns:", "if False:"),
    ("expired", "if now_ns > command.valid_until_ns:", "if False:"),
    ("validity", "command.valid_until_ns - command.t_due_ns > max_age_ns", "False"),
    ("period_short", "MIN_PERIOD_NS <= command", "0 <= command"),
    ("period_long", "command.period_ns <= MAX_PERIOD_NS", "command.period_ns"),
    ("old_observation", "observed_ns <= limits.max_observation_age_s * 1e9", "True"),
    ("future_observation", "-FUTURE_TOLERANCE_NS <= observed_ns", "True"),
    ("nan", "if not np.isfinite(setpoints).all():", "if False:"),
    ("quaternion", "if worst > 2.0 * QUATERNION_TOLERANCE:", "if False:"),
    ("gripper", "if opening > 1.0 + RELATIVE_TOLERANCE:", "if False:"),
    ("workspace", "    if outside:\n", "    if False:\n"),
    ("workspace", "np.maximum(below, above)", "above"),
    ("unobserved", "if not t_obs_ns:", "if False:"),
    ("start_distance", "if distance_m > limits.max_start_distance_m:", "if False:"),
    ("start_angle", "if angle_rad > limits.max_start_angle_rad:", "if False:"),
    ("start_stands_still", "- 3.0 * kept[-2, :3] + kept[-3, :3]", "- 2.0 * kept[-1, :3]"),
    ("linear_velocity", JUDGED, "(0 * velocity, acceleration, jerk))"),
    ("linear_acceleration", JUDGED, "(velocity, 0 * acceleration, jerk))"),
    ("linear_jerk", JUDGED, "(velocity, acceleration, 0 * jerk))"),
    ("angular_velocity", BOTH_PARTS, BOTH_PARTS.replace(", 1", ",")),
    ("angular_acceleration", BOTH_PARTS, BOTH_PARTS.replace(", 1", ",")),
    ("angular_jerk", BOTH_PARTS, BOTH_PARTS.replace(", 1", ",")),
    ("linear_seam", "np.concatenate([kept[-3:], rows])", "np.concatenate([rows[:1], rows])"),
    ("stop_speed", "if peak[part] > speeds[part] * (1.0 + RELATIVE_TOLERANCE):", "if False:"),
    ("stop_workspace", "_outside(upper, limits) or", ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new"), MUTANTS)
def test_a_gate_without_a_check_fails_the_test_of_its_reason(name: str, old: str, new: str) -> None:
    assert judge(mutant(safety, old, new), CASES[name]) != CASES[name].reason


def test_a_command_is_refused_whole_and_unchanged() -> None:
    rows = CASES["workspace"].rows()
    before = rows.copy()
    safety.check_values(rows, 1, LIMITS)
    safety.check_motion(KEPT, rows, PERIOD_S, LIMITS)
    assert np.array_equal(rows, before)


def test_every_reason_of_the_gate_has_a_case_or_a_test_at_the_controller() -> None:
    at_controller = {"stopping", "fault", "shutdown", "grid", "gap", "size"}
    of_joints = safety.REASONS[safety.REASONS.index("joint_position") :]  # test_joint_gate
    covered = {case.reason for case in CASES.values()}
    assert covered | at_controller | {*of_joints} == set(safety.REASONS)
