"""The servo tick: its twin, underruns and holds in the plan, books, skipped ticks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins.allocations import assert_allocation_free
from twins.planner import PlannerTwin
from twins.rotations import exponential, rotation_between
from twins.shaper import Bounds, ShaperTwin
from twins.stream import TwinTimeline

from dvla.bindings import (
    REMEMBERED,
    ActionStream,
    PlanStatus,
    PoseShaper,
    ServoPlanner,
    ShaperLimits,
)

T = 40_000_000
PERIOD_NS = 4_000_000
HORIZON = 25
REST = np.array([0.0, 0, 0, 1, 0, 0, 0, 0])
LINEAR, ANGULAR = Bounds(1.1, 7.0, 250.0), Bounds(1.8, 10.0, 400.0)


class Rig:
    """A stream and a planner over it."""

    def __init__(self, horizon=HORIZON):
        self.stream = ActionStream.create()
        limits = ShaperLimits(
            linear_velocity=LINEAR.v, linear_acceleration=LINEAR.a, linear_jerk=LINEAR.j,
            angular_velocity=ANGULAR.v, angular_acceleration=ANGULAR.a, angular_jerk=ANGULAR.j,
        )  # fmt: skip
        self.shaper = PoseShaper(limits, PERIOD_NS * 1e-9)
        self.planner = ServoPlanner(self.stream, self.shaper, horizon)
        self.planner.reset(REST)
        self.rows = np.full((horizon, 8), np.nan)

    def publish(self, line):
        return self.stream.publish(
            line.t_ns, line.setpoints, line.chunk_ids, line.t_obs_ns, start_ns=line.start_ns,
            end_ns=line.end_ns, generation=line.generation, hold=line.hold,
        )  # fmt: skip

    def plan(self, now_ns):
        return self.planner.plan(now_ns, self.rows)


def make_timeline(start_ns, count=5, *, seed=0, hold=False, speed=0.25):
    """Return ``count`` actions that move on at about ``speed`` m/s."""
    rng = np.random.default_rng(seed)
    t_ns = start_ns + T // 2 + T * np.arange(count, dtype=np.int64)
    rows = np.zeros((count, 8))
    rows[:, :3] = np.cumsum(rng.normal(0, speed * T * 1e-9, (count, 3)), 0)
    for i in range(count):
        rows[i, 3:7] = exponential(rng.normal(0, 0.05, 3))
    rows[:, 7] = 1
    ids = np.arange(count, dtype=np.int64) + 7
    return TwinTimeline(0, start_ns, start_ns + count * T, 3, hold, t_ns, rows, ids, t_ns - 2 * T)


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from([1, 1, 1, 1, 2, 3, 9]), max_size=12))
def test_agrees_with_its_twin(seed, gaps):
    rig = Rig(horizon=4)
    twin = PlannerTwin(ShaperTwin(LINEAR, ANGULAR, PERIOD_NS * 1e-9), 4, PERIOD_NS)
    rng = np.random.default_rng(seed)
    now_ns = 10**12
    for gap in [1, *gaps]:
        if twin.timeline is None or rng.random() < 0.2:
            start_ns = now_ns + int(rng.integers(-T, 3 * PERIOD_NS))
            timeline = make_timeline(start_ns, 1 + int(rng.integers(3)), seed=seed)
            rig.publish(timeline)
            twin.timeline = timeline
        now_ns += gap * PERIOD_NS
        status, expected = rig.plan(now_ns), twin.plan(now_ns)
        assert status is PlanStatus[twin.status]
        assert rig.planner.underruns == twin.underruns
        np.testing.assert_allclose(rig.rows[:, :3], expected[:, :3], atol=1e-8)
        np.testing.assert_array_equal(rig.rows[:, 7], expected[:, 7])
        for ours, theirs in zip(rig.rows, expected, strict=True):
            assert np.linalg.norm(rotation_between(ours[3:7], theirs[3:7])) < 1e-6


def test_a_plan_comes_true_while_nothing_new_is_published():
    """The future that a command carries is what later ticks send, the stop at its end included."""
    rig = Rig()
    start_ns = 10**12
    rig.publish(make_timeline(start_ns))
    sent, plans = [], []
    for k in range(90):
        rig.plan(start_ns + k * PERIOD_NS)
        sent.append(rig.rows[0].copy())
        plans.append(rig.rows.copy())
    for k in range(90 - HORIZON):
        np.testing.assert_allclose(plans[k], sent[k : k + HORIZON], atol=1e-12)
    assert rig.planner.underruns == 1


@pytest.mark.parametrize("gaps", [(1,), (1, 2, 1, 5), (1, HORIZON - 1, HORIZON, HORIZON + 1)])
def test_what_is_kept_of_a_plan_is_what_planning_anew_gives(gaps):
    """The same timeline published again makes a planner forget its last plan."""
    keeps, anew = Rig(), Rig()
    now_ns = start_ns = 10**12
    for k in range(120):
        line = make_timeline(start_ns, seed=k // 60, speed=0.5 + k // 60)
        if k % 60 == 0:
            keeps.publish(line)
        anew.publish(line)
        now_ns += gaps[k % len(gaps)] * PERIOD_NS
        assert keeps.plan(now_ns) is anew.plan(now_ns)
        np.testing.assert_array_equal(keeps.rows, anew.rows)
        for name in ("saturated_ticks", "underruns", "chunk_id", "t_obs_ns"):
            assert getattr(keeps.planner, name) == getattr(anew.planner, name)
        if k == 59:
            start_ns = now_ns


def test_idle_until_the_first_action_then_following_then_stopped_until_the_next():
    rig = Rig()
    planner, start_ns = rig.planner, 10**12
    assert rig.plan(start_ns - 10 * PERIOD_NS) is PlanStatus.IDLE
    np.testing.assert_array_equal(rig.rows, [REST] * HORIZON)
    assert (planner.chunk_id, planner.t_obs_ns, planner.timeline_sequence) == (-1, 0, 0)

    line = make_timeline(start_ns, 3)
    rig.publish(line)
    assert rig.plan(start_ns - 1) is PlanStatus.IDLE
    np.testing.assert_array_equal(rig.rows[0], REST)
    assert (rig.rows[1:] != REST).any(), "the plan looks ahead into the action"
    assert (planner.timeline_sequence, planner.generation) == (1, 3)

    seen = []
    for k in range(1, 100):
        now_ns = start_ns - 1 + k * PERIOD_NS
        status = rig.plan(now_ns)
        seen.append(status)
        if status is PlanStatus.FOLLOWING:
            assert line.start_ns <= now_ns < line.end_ns
            action = (now_ns - start_ns) // T
            assert planner.chunk_id == line.chunk_ids[action]
            assert planner.t_obs_ns == line.t_obs_ns[action]
    assert seen == sorted(seen, key=[1, 2, 0].index), "following, then stopping, then idle"
    assert set(seen) == set(PlanStatus)
    assert planner.underruns == 1
    assert (planner.chunk_id, planner.t_obs_ns) == (-1, 0)
    resting = rig.rows.copy()
    assert (resting == resting[0]).all()

    rig.publish(make_timeline(now_ns + 20 * PERIOD_NS, 3))
    assert rig.plan(now_ns + 2 * PERIOD_NS) is PlanStatus.IDLE
    np.testing.assert_array_equal(rig.rows[0], resting[0])
    assert rig.plan(now_ns + 20 * PERIOD_NS) is PlanStatus.FOLLOWING
    assert planner.underruns == 1


def test_a_hold_stops_without_counting_an_underrun():
    rig = Rig()
    start_ns = 10**12
    rig.publish(make_timeline(start_ns, 10, speed=0.6))
    for k in range(30):
        rig.plan(start_ns + k * PERIOD_NS)
    assert rig.shaper.twist.any()
    rig.publish(make_timeline(start_ns, 10, hold=True))
    statuses = [rig.plan(start_ns + (30 + k) * PERIOD_NS) for k in range(60)]
    assert statuses[0] is PlanStatus.STOPPING
    assert statuses[-1] is PlanStatus.IDLE
    assert not rig.shaper.twist.any()
    assert rig.planner.underruns == 0


def test_every_plan_obeys_the_bounds_across_seams_and_stops():
    rig = Rig()
    start_ns, worst = 10**12, np.zeros(3)
    sent = [REST[:3]]
    for k in range(300):
        now_ns = start_ns + k * PERIOD_NS
        if k % 60 == 0:
            rig.publish(make_timeline(now_ns - T, 5, seed=k, speed=1.5))
        rig.plan(now_ns)
        path = np.concatenate([sent[-3:], rig.rows[:, :3]])
        sent.append(rig.rows[0, :3].copy())
        for n in range(3):
            steps = np.diff(path, n=n + 1, axis=0) / (PERIOD_NS * 1e-9) ** (n + 1)
            worst[n] = max(worst[n], np.linalg.norm(steps, axis=1).max())
    assert (worst <= np.array(LINEAR) * (1 + 1e-8)).all()
    assert rig.planner.saturated_ticks > 0
    assert rig.planner.underruns > 0


def test_skipped_ticks_are_made_up_for_and_silence_is_not():
    """After three skipped ticks the arm is where the last plan said; the state follows it there."""
    rig = Rig()
    start_ns = 10**12
    rig.publish(make_timeline(start_ns, 10))
    for k in range(20):
        rig.plan(start_ns + k * PERIOD_NS)
    known = rig.rows.copy()
    rig.plan(start_ns + 23 * PERIOD_NS)
    np.testing.assert_allclose(rig.rows[0], known[4], atol=1e-12)
    before = rig.shaper.setpoint
    rig.plan(start_ns + 60 * PERIOD_NS)
    assert np.linalg.norm(rig.shaper.setpoint[:3] - before[:3]) <= LINEAR.v * PERIOD_NS * 1e-9


def test_a_tick_allocates_nothing():
    rig = Rig()
    rig.publish(make_timeline(10**12, 20))
    assert_allocation_free(lambda: rig.plan(10**12 + T))


def test_refuses():
    rig = Rig()
    with pytest.raises(ValueError, match=r"expected \(25, 8\)"):
        rig.planner.plan(0, np.empty((24, 8)))
    with pytest.raises(ValueError, match="horizon"):
        ServoPlanner(rig.stream, rig.shaper, 0)
    with pytest.raises(ValueError, match="quaternion"):
        rig.planner.reset(np.zeros(8))
    with pytest.raises(TypeError):
        ServoPlanner(None, rig.shaper, 5)
    rig.stream.close()
    with pytest.raises(ValueError, match="not open"):
        rig.planner.plan(0, rig.rows)


def test_a_plan_that_is_taken_back_goes_on_as_if_nothing_had_been_planned_since():
    """One planner is led astray by later actions and taken back, the other never saw them."""
    astray, straight = Rig(), Rig()
    start_ns = 10**12
    line = make_timeline(start_ns, 12)
    for rig in (astray, straight):
        rig.publish(line)
    for k in range(20):
        now_ns = start_ns + k * PERIOD_NS
        astray.plan(now_ns)
        straight.plan(now_ns)
    astray.planner.remember(41)
    astray.publish(make_timeline(start_ns, 12, seed=1, speed=0.5))
    for k in range(20, 25):
        astray.plan(start_ns + k * PERIOD_NS)
        straight.plan(start_ns + k * PERIOD_NS)
    assert np.abs(astray.rows[0] - straight.rows[0]).max() > 1e-5
    assert astray.planner.take_back(9) is None
    assert astray.planner.take_back(41) == 5
    for rig in (astray, straight):
        rig.planner.braking = True
        assert rig.plan(start_ns + 25 * PERIOD_NS) is PlanStatus.STOPPING
    np.testing.assert_array_equal(astray.rows, straight.rows)
    assert astray.planner.underruns == 0


def test_braking_stops_whatever_the_stream_says_and_ends_when_told():
    rig = Rig()
    start_ns = 10**12
    rig.publish(make_timeline(start_ns, 40))
    for k in range(30):
        rig.plan(start_ns + k * PERIOD_NS)
    ahead = rig.rows.copy()
    rig.planner.braking = True
    statuses = [rig.plan(start_ns + k * PERIOD_NS) for k in range(30, 130)]
    assert statuses[0] is PlanStatus.STOPPING and statuses[-1] is PlanStatus.IDLE
    np.testing.assert_array_equal(rig.rows, np.repeat(rig.rows[:1], HORIZON, axis=0))
    assert np.linalg.norm(rig.rows[0, :3] - ahead[0, :3]) < 0.1
    rig.planner.braking = False
    assert rig.plan(start_ns + 130 * PERIOD_NS) is PlanStatus.FOLLOWING
    assert np.ptp(rig.rows[:, :3], axis=0).max() > 1e-3


def test_a_share_of_the_bounds_is_kept_until_more_is_taken():
    rig = Rig()
    start_ns = 10**12
    far = make_timeline(start_ns, 60, speed=5.0)
    rig.publish(far)
    rig.planner.share = 0.25
    rig.plan(start_ns)
    rig.planner.remember(1)
    sent = []
    for k in range(1, 200):
        if k == 120:
            rig.planner.share = 1.0
        rig.plan(start_ns + k * PERIOD_NS)
        sent.append(rig.rows[0, :3].copy())
    for share, part in ((0.25, slice(0, 118)), (1.0, slice(None))):
        for order, bound in enumerate((LINEAR.v, LINEAR.a, LINEAR.j), 1):
            values = np.diff(np.array(sent)[part], order, axis=0) / (PERIOD_NS * 1e-9) ** order
            largest = np.linalg.norm(values, axis=1).max()
            assert largest <= share * bound * 1.01
            assert largest > 0.5 * share * bound or share < 1.0
    rig.planner.reset(REST)
    assert rig.planner.share == 1.0 and rig.planner.take_back(1) is None


def test_going_back_takes_the_share_of_the_plan_again():
    rig = Rig()
    start_ns = 10**12
    rig.publish(make_timeline(start_ns, 30, speed=2.0))
    rig.planner.share = 0.5
    rig.plan(start_ns)
    rig.planner.remember(3)
    rig.planner.share = 1.0
    rig.plan(start_ns + PERIOD_NS)
    assert rig.planner.take_back(3) == 1 and rig.planner.share == 0.5


@pytest.mark.parametrize("age", [HORIZON, HORIZON + 3])
def test_a_plan_that_has_run_out_is_not_gone_back_to(age):
    rig = Rig()
    start_ns = 10**12
    rig.publish(make_timeline(start_ns, 30))
    rig.plan(start_ns)
    rig.planner.remember(1)
    rig.plan(start_ns + (HORIZON - 1) * PERIOD_NS)
    assert rig.planner.take_back(1) == HORIZON - 1
    rig.plan(start_ns + age * PERIOD_NS)
    assert rig.planner.take_back(1) is None


def test_the_oldest_remembered_plan_makes_room():
    rig = Rig()
    rig.publish(make_timeline(10**12, 30))
    rig.plan(10**12)
    for number in range(1, REMEMBERED + 2):
        rig.planner.remember(number)
    assert rig.planner.take_back(1) is None
    assert rig.planner.take_back(2) == rig.planner.take_back(REMEMBERED + 1) == 0


@pytest.mark.parametrize("number", [0, -1])
def test_numbers_of_plans_are_above_0(number):
    rig = Rig()
    with pytest.raises(ValueError, match="expected one above 0"):
        rig.planner.remember(number)
    rig.plan(10**12)
    with pytest.raises(ValueError, match="expected one above 0"):
        rig.planner.remember(number)
    assert rig.planner.take_back(number) is None


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_shares_are_above_0_and_at_most_1(share):
    with pytest.raises(ValueError, match="share"):
        Rig().planner.share = share
