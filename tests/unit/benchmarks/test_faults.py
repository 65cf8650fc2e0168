"""The fault campaign's judge, its table, and that it goes on where it was broken off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvla.benchmarks.faults import campaign
from dvla.benchmarks.faults.campaign import UNSAFE, Campaign, read_report
from dvla.benchmarks.faults.cases import CASES, Case, case_by_name
from dvla.benchmarks.faults.envelope import Judgement, judge
from dvla.benchmarks.faults.joints import joints_of
from dvla.benchmarks.faults.kinematics import PlainArm
from dvla.benchmarks.faults.measure import FaultResult, hold_of, problems
from dvla.benchmarks.faults.table import PAGE, RESULTS, markdown
from dvla.engines.errors import DvlaError
from dvla.runtime.pose import Float64
from dvla.runtime.robots import robot_by_name
from dvla.runtime.twin.arm_model import HOME_Q

LIMITS = robot_by_name("franka").twin_limits
ROOT = Path(__file__).resolve().parents[3]
PERIOD_NS = 4_000_000


def path(rows: int, place: tuple[float, float, float] = (0.45, 0.0, 0.3)) -> Float64:
    """Return a path (rows, 8) at rest, the hand downwards."""
    return np.tile(np.array([*place, 0.0, 1.0, 0.0, 0.0, 1.0]), (rows, 1))


def times(rows: int, late: tuple[int, ...] = ()) -> np.ndarray:
    """Return the times of turns, some of which come late."""
    t_ns = np.arange(rows, dtype=np.int64) * PERIOD_NS
    for row in late:
        t_ns[row] += 3_000_000
    return t_ns


def swing(t_ns: np.ndarray, speed: float) -> Float64:
    """Return a path that swings along y at up to ``speed`` [m/s]."""
    setpoints = path(len(t_ns))
    setpoints[:, 1] = 0.16 * np.sin(speed / 0.16 * t_ns / 1e9)
    return setpoints


@settings(max_examples=4, deadline=None)
@given(speed=st.floats(0.1, 0.9), late=st.sets(st.integers(1, 38), max_size=6))
def test_what_keeps_the_envelope_is_inside_whenever_it_is_sampled(
    speed: float, late: set[int]
) -> None:
    t_ns = times(40, tuple(late))
    judgement = judge(t_ns, swing(t_ns, speed), np.array(HOME_Q), LIMITS)
    assert judgement.judged == 40
    assert not judgement.outside and not judgement.joints_outside
    assert judgement.worst["linear_velocity"] == pytest.approx(speed / 1.2, rel=0.05)


def test_every_bound_is_judged() -> None:
    t_ns = times(30)
    assert "linear_velocity" in judge(t_ns, swing(t_ns, 1.4), np.array(HOME_Q), LIMITS).outside
    stepped = path(30)
    stepped[15:, 0] += 0.005
    outside = judge(t_ns, stepped, np.array(HOME_Q), LIMITS).outside
    assert {"linear_velocity", "linear_acceleration", "linear_jerk"} <= set(outside)
    low = judge(t_ns, path(30, (0.45, 0.0, -0.1)), np.array(HOME_Q), LIMITS)
    assert low.outside["workspace"] == 30
    torn = path(30)
    torn[5, 2] = np.nan
    assert judge(t_ns, torn, np.array(HOME_Q), LIMITS).outside == {"not finite": 1}
    turned = path(30)
    angle = np.linspace(0.0, 0.5, 30)
    turned[:, 3:7] = np.stack([0 * angle, np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    assert "angular_velocity" in judge(t_ns, turned, np.array(HOME_Q), LIMITS).outside


def test_joints_are_judged_where_the_tcp_is_right() -> None:
    """The hand flat, 2 cm above the table: the TCP is inside, the body of the hand is not."""
    t_ns = times(30)
    flat = path(30, (0.45, 0.0, 0.02))
    flat[:, 3:7] = np.array([0.0, np.cos(0.8), 0.0, -np.sin(0.8)])
    judgement = judge(t_ns, flat, np.array(HOME_Q), LIMITS)
    assert not judgement.outside
    assert "plane" in judgement.joints_outside


def test_a_path_that_asks_too_much_acceleration_of_joints_is_missed_by_them() -> None:
    """Back and forth at once: an arm that brakes first is elsewhere by then."""
    t_ns = times(120)
    torn = path(120)
    torn[:, 1] = 0.06 * (np.abs(np.arange(120) % 60 - 30) / 15.0 - 1.0)
    judgement = judge(t_ns, torn, np.array(HOME_Q), LIMITS)
    assert "joint_position" in judgement.joints_outside
    assert judgement.worst["joint_acceleration"] <= 1.05


def test_what_joints_lag_by_is_caught_up_without_overshoot() -> None:
    arm = PlainArm(LIMITS.joints)
    stepped = np.repeat(path(1), 150, axis=0)
    stepped[1:, 1] += 0.03
    q = np.array(HOME_Q)
    joints = joints_of(times(170), np.concatenate([path(20), stepped]), q, LIMITS.joints)
    y = [arm.frames(row)[-1][1, 3] for row in joints]
    assert max(y) < 0.0305 and y[-1] == pytest.approx(0.03, abs=5e-4)


def test_setpoints_that_were_not_sent_are_not_judged() -> None:
    setpoints = path(40)
    setpoints[10:20] = np.nan
    judgement = judge(times(40), setpoints, np.array(HOME_Q), LIMITS)
    assert judgement.judged == 30 and not judgement.outside


def test_a_hold_is_when_the_commanded_pose_rests_for_good() -> None:
    t_ns = times(1000)
    moving = path(1000)
    moving[:, 0] += np.minimum(np.arange(1000), 300) * 1e-3
    hold_s, travelled_m = hold_of(t_ns, moving, 200 * PERIOD_NS, int(t_ns[-1]))
    assert hold_s == pytest.approx(0.4) and travelled_m == pytest.approx(0.1)
    moving[-1, 0] += 1e-3  # it moves again just before the end
    assert hold_of(t_ns, moving, 200 * PERIOD_NS, int(t_ns[-1]))[0] is None
    # Who is killed commands nothing from the last setpoint on.
    hold_s, _ = hold_of(t_ns[:250], moving[:250], 200 * PERIOD_NS, int(t_ns[-1]))
    assert hold_s == pytest.approx(0.2, abs=0.01)
    assert hold_of(t_ns[:0], moving[:0], 0, int(t_ns[-1])) == (0.0, 0.0)


def result_of(case: Case, **facts: object) -> FaultResult:
    return FaultResult(
        name=case.name, group=case.group, what=case.what, judgement=Judgement(judged=1), **facts
    )


def test_a_result_passes_only_without_a_problem() -> None:
    silent = case_by_name("stop_servo_and_supervisor")
    assert not problems(silent, result_of(silent, hold_s=0.2, arm_said="hold: no fresh command"))
    (problem,) = problems(silent, result_of(silent, hold_s=0.2, arm_said="follow"))
    (watchdog,) = [build for build in UNSAFE if build.lacks == "watchdog"]
    assert watchdog.sign in problem
    assert problems(silent, result_of(silent, hold_s=3.5, arm_said="hold"))
    assert problems(silent, result_of(silent, hold_s=None, arm_said="hold"))
    killed = case_by_name("kill_servo")
    assert problems(killed, result_of(killed, hold_s=0.2, exit_code=0))
    assert problems(killed, result_of(killed, hold_s=0.2, exit_code=1, left_behind=("lock",)))
    unharmed = case_by_name("garbage")
    assert not problems(unharmed, result_of(unharmed, exit_code=130))
    assert problems(unharmed, result_of(unharmed, exit_code=1))


def test_a_campaign_goes_on_where_it_was_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    broken = {"kill_policy"}

    def measure(case: Case, **_: object) -> FaultResult:
        tried.append(case.name)
        if case.name in broken:
            raise DvlaError("a run never moved its arm")
        return result_of(case, hold_s=0.1)

    monkeypatch.setattr(campaign, "measure", measure)
    out = tmp_path / "faults.json"

    def run(before: bool) -> campaign.FaultReport:
        made = Campaign(
            command="x", out=out, light=True, say=print,
            before=read_report(out) if before else None,
        )  # fmt: skip
        return made.run(["kill_servo", "kill_policy"], unsafe=False)

    report = run(before=False)
    assert tried == ["kill_servo", "kill_policy", "kill_policy"]
    assert not report.passed and "nothing could be tried" in report.results[0].problems
    broken.clear()
    report = run(before=True)
    assert tried[3:] == ["kill_policy"]
    assert report.passed and [r.name for r in report.results] == ["kill_policy", "kill_servo"]
    assert read_report(out).results == report.results


def test_a_build_counts_as_noticed_only_by_its_own_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(case: Case, *, unsafe: str, light: bool) -> FaultResult:
        sign = next(build.sign for build in UNSAFE if build.lacks == unsafe)
        told = "the arm went on" if unsafe == "gate" else f"setpoints {sign}"
        return result_of(case, problems=(told,))

    monkeypatch.setattr(campaign, "measure", measure)
    made = Campaign(command="x", out=tmp_path / "x.json", light=True, say=print)
    report = made.run([], unsafe=True)
    assert {one.lacks: one.noticed for one in report.unsafe} == {
        "gate": False, "joint gate": True, "watchdog": True,
    }  # fmt: skip
    assert not report.passed


def test_names_are_unique_and_unsafe_builds_meet_faults_that_exist() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    for build in UNSAFE:
        case_by_name(build.fault)


def test_the_page_is_made_from_the_committed_campaign() -> None:
    report = read_report(ROOT / RESULTS)
    tried = {result.name for result in report.results}
    assert tried == {case.name for case in CASES}
    assert not any(r.judgement.outside or r.judgement.joints_outside for r in report.results)
    assert all(one.noticed for one in report.unsafe) and len(report.unsafe) == len(UNSAFE)
    assert (ROOT / PAGE).read_text() == markdown(report)
