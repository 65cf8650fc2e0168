"""The servo tick: its twin, underruns and holds in the plan, books, skipped ticks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planner_rig import ANGULAR, HORIZON, LINEAR, PERIOD_NS, REST, PlannerRig, T, make_timeline
from twins.allocations import assert_allocation_free
from twins.planner import PlannerTwin
from twins.rotations import rotation_between
from twins.shaper import ShaperTwin

from dvla.bindings import PlanStatus, ServoPlanner


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from([1, 1, 1, 1, 2, 3, 9]), max_size=12))
def test_agrees_with_its_twin(seed, gaps):
    rig = PlannerRig(horizon=4)
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
    rig = PlannerRig()
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
    keeps, anew = PlannerRig(), PlannerRig()
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
    rig = PlannerRig()
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
    rig = PlannerRig()
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
    rig = PlannerRig()
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
    rig = PlannerRig()
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
    rig = PlannerRig()
    rig.publish(make_timeline(10**12, 20))
    assert_allocation_free(lambda: rig.plan(10**12 + T))


def test_refuses():
    rig = PlannerRig()
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
