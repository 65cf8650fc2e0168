"""The guide of real-time chunking: its weights, its actions, and what it does to a policy."""

from __future__ import annotations

import numpy as np
import pytest
from arm_doubles import EventList
from hypothesis import given, settings
from hypothesis import strategies as st

from dvla.runtime.chunk import Chunk
from dvla.runtime.config import GuideFade, SchedulerConfig
from dvla.runtime.guide import (
    GREATEST_POWER,
    WINDOW_INFERENCES,
    LatencyWindow,
    guide_from,
    weights,
)
from dvla.runtime.pose import actions_from_setpoints, setpoints_from_actions
from dvla.runtime.scheduler import Scheduler
from dvla.runtime.timeline import Timeline, empty_timeline, merge

T_NS = 40_000_000
H = 20


def line(tau_ns: int, speed: float = 0.01, rows: int = H, sequence: int = 0) -> Timeline:
    """Return a plan that moves along x and turns about z by ``speed`` per period."""
    actions = np.zeros((rows, 7))
    actions[:, 0] = actions[:, 5] = speed * np.arange(rows)
    actions[:, 6] = 1.0
    setpoints = setpoints_from_actions(actions)
    return merge(
        empty_timeline(T_NS),
        setpoints,
        tau_ns=tau_ns,
        takeover_ns=tau_ns,
        sequence=sequence,
        t_obs_ns=tau_ns,
    )


@given(kept=st.integers(0, 40), reached=st.integers(1, H), horizon=st.just(H))
def test_weights_are_one_then_fall_to_zero(kept: int, reached: int, horizon: int) -> None:
    found = weights(kept, reached, horizon)
    assert found.shape == (horizon,)
    assert (found[: min(kept, reached)] == 1.0).all()
    assert (found[reached:] == 0.0).all()
    falling = found[kept:reached]
    assert ((falling > 0.0) & (falling < 1.0)).all()
    assert (np.diff(falling) < 0.0).all()


def test_weights_of_a_known_case() -> None:
    e = np.e
    expected = [1.0, 1.0] + [c * (e**c - 1) / (e - 1) for c in (3 / 4, 2 / 4, 1 / 4)] + [0.0]
    np.testing.assert_allclose(weights(2, 5, 6), expected, rtol=1e-12)


@given(kept=st.integers(0, 40), reached=st.integers(1, H), power=st.floats(1.0, GREATEST_POWER))
def test_a_power_changes_what_falls_and_nothing_else(kept: int, reached: int, power: float) -> None:
    plain, found = weights(kept, reached, H), weights(kept, reached, H, power)
    np.testing.assert_allclose(found, plain**power, rtol=1e-12)
    np.testing.assert_array_equal(found == 1.0, plain == 1.0)
    np.testing.assert_array_equal(found.astype(np.float32) > 0.0, plain > 0.0)


@pytest.mark.parametrize(
    ("fade", "late_steps", "power"),
    [("published", 5.0, 1.0), ("aged", 5.0, 5.0), ("aged", 0.4, 1.0), ("aged", 3.5, 3.5),
     ("aged", 12.0, GREATEST_POWER)],
)  # fmt: skip
def test_an_aged_guide_fades_by_the_periods_between_two_observations(
    fade: GuideFade, late_steps: float, power: float
) -> None:
    """The first chunk is seen at 0 and comes two periods later; the second one is seen late."""
    config = SchedulerConfig(seam="rtc", guide=fade, bootstrap="discard")
    scheduler = Scheduler(config, chunk_size=H, control_period_ns=T_NS, sink=EventList())
    actions = np.zeros((H, 7), np.float32)
    first = scheduler.begin_inference(0, 0)
    assert first.guide is None
    chunk = Chunk(
        sequence=first.sequence, generation=0, t_obs_ns=0, inference_s=0.08,
        actions=actions, control_period_s=T_NS / 1e9,
    )  # fmt: skip
    assert scheduler.on_chunk(chunk, 2 * T_NS) is None
    seen_ns = round(late_steps * T_NS)
    now_ns = max(seen_ns, 2 * T_NS)
    ticket = scheduler.begin_inference(now_ns, seen_ns)
    assert ticket.guide is not None
    kept = -(-(now_ns + 2 * T_NS - seen_ns) // T_NS)
    reached = -(-(H * T_NS - seen_ns) // T_NS)
    expected = weights(kept, reached, H, power).astype(np.float32)
    expected[seen_ns + np.arange(H) * T_NS < 2 * T_NS] = 0.0  # the plan begins when it came
    np.testing.assert_array_equal(ticket.guide.prev_weight, expected)


@settings(deadline=None)
@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=120))
def test_the_percentile_is_of_the_last_inferences_and_never_too_low(latencies: list[int]) -> None:
    window = LatencyWindow()
    assert window.p95_ns is None
    for latency in latencies:
        window.add(latency)
    recent = latencies[-WINDOW_INFERENCES:]
    found = window.p95_ns
    assert found in recent
    assert sum(latency <= found for latency in recent) >= 0.95 * len(recent)
    if len(recent) <= 20:
        assert found == max(recent)


@settings(deadline=None)
@given(phase_ns=st.integers(0, T_NS - 1), age=st.integers(0, 15), latency_ns=st.integers(0, 10**9))
def test_the_guide_is_the_previous_plan_on_the_new_grid(
    phase_ns: int, age: int, latency_ns: int
) -> None:
    plan, tau_ns = line(0), age * T_NS + phase_ns
    guide = guide_from(plan, tau_ns, tau_ns + latency_ns, H)
    assert guide is not None
    t_ns = tau_ns + np.arange(H) * T_NS
    has_action = t_ns < H * T_NS
    np.testing.assert_array_equal(guide.prev_weight > 0, has_action)
    kept = -(-latency_ns // T_NS)
    np.testing.assert_array_equal(guide.prev_weight == 1.0, has_action & (np.arange(H) < kept))
    assert guide.guided_steps == has_action.sum()
    assert guide.kept_steps == min(kept, has_action.sum())
    # The last action stays in force for a period after it is due.
    wanted = 0.01 * np.minimum(t_ns / T_NS, H - 1)[has_action]
    np.testing.assert_allclose(guide.prev_actions[has_action][:, 0], wanted, atol=1e-6)
    np.testing.assert_allclose(guide.prev_actions[has_action][:, 5], wanted, atol=1e-6)
    assert (guide.prev_actions[:, 6] == 1.0).all()
    assert not guide.prev_actions.flags.writeable and not guide.prev_weight.flags.writeable


def test_there_is_no_guide_where_the_plan_has_no_action() -> None:
    assert guide_from(empty_timeline(T_NS), 0, 10 * T_NS, H) is None
    assert guide_from(line(0), H * T_NS, H * T_NS, H) is None
    assert guide_from(line(0), H * T_NS - 1, H * T_NS, H) is not None
    late = guide_from(line(3 * T_NS + 1), 0, 10 * T_NS, H)
    assert late is not None
    assert (late.prev_weight[:4] == 0.0).all() and late.prev_weight[4] == 1.0


def test_with_no_latency_known_all_of_the_plan_is_kept() -> None:
    guide = guide_from(line(0), 5 * T_NS, None, H)
    assert guide is not None
    assert set(guide.prev_weight[:15]) == {1.0} and set(guide.prev_weight[15:]) == {0.0}


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            *[st.floats(-1, 1)] * 3, st.floats(-3.1, 3.1), st.floats(-1.5, 1.5), st.floats(-3, 3)
        ),
        min_size=1,
        max_size=5,
    )
)
def test_setpoints_become_the_actions_that_they_were(rows: list[tuple[float, ...]]) -> None:
    actions = np.array([(*row, 1.0) for row in rows])
    found = actions_from_setpoints(setpoints_from_actions(actions))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, actions, atol=1e-5)


@pytest.mark.parametrize("kept", [0, 3, 25])
def test_weights_never_reach_beyond_what_is_there(kept: int) -> None:
    assert not weights(kept, 0, H).any()
