"""Faults that streaming schedulers are known for, each with a test of its own."""

from __future__ import annotations

import itertools
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from closed_loop import MS, ClosedLoop
from scheduler_scenario import PERIOD_NS, Log, chunk_for

from dvla.runtime.config import SchedulerConfig
from dvla.runtime.errors import ConfigError
from dvla.runtime.events import ActionInForce, ChunkDiscarded
from dvla.runtime.scheduler import Scheduler
from dvla.runtime.timeline import Timeline, publish_timeline

SECOND_NS = 1_000 * MS


def make(config: SchedulerConfig | None = None, **more: Any) -> tuple[Scheduler, Log]:
    log = Log()
    scheduler = Scheduler(
        config or SchedulerConfig(), chunk_size=20, control_period_ns=PERIOD_NS, sink=log, **more
    )
    return scheduler, log


def deliver(scheduler: Scheduler, seen_ns: int, now_ns: int, **changes: Any) -> str | None:
    """Run an inference on an observation and let its chunk arrive."""
    ticket = scheduler.begin_inference(now_ns, seen_ns)
    chunk = msgspec.structs.replace(chunk_for(ticket, 20), **changes)
    reason = scheduler.on_chunk(chunk, now_ns)
    scheduler.advance(now_ns)
    return reason


def test_lost_observations_neither_repeat_an_index_nor_leave_the_motion_behind() -> None:
    loop = ClosedLoop(SchedulerConfig(), lambda n: None if n in (3, 4, 5) else 160).run(3000)
    tau_ns = {merge.sequence: merge.tau_ns for merge in loop.merges()}
    actions = loop.events(ActionInForce)
    for before, after in itertools.pairwise(actions):
        if before.sequence == after.sequence:
            assert after.index == before.index + 1
    for action in actions:
        assert action.index == (action.t_ns - tau_ns[action.sequence]) // PERIOD_NS


def test_a_second_hold_within_an_action_does_not_make_the_arm_move_longer() -> None:
    """What was seen between two holds saw an arm at rest, so that its chunk begins a motion."""
    scheduler, log = make()
    assert deliver(scheduler, SECOND_NS, SECOND_NS) is None
    first_ns = SECOND_NS + 4 * PERIOD_NS + PERIOD_NS // 4
    scheduler.advance(first_ns)
    scheduler.on_hold(first_ns)
    scheduler.on_hold(first_ns + PERIOD_NS // 4)
    arrival_ns = first_ns + 30 * PERIOD_NS
    assert deliver(scheduler, first_ns, arrival_ns) is None
    scheduler.advance(arrival_ns + 1)
    last = [event for event in log.events if isinstance(event, ActionInForce)][-1]
    assert (last.index, last.t_ns) == (0, arrival_ns)


def test_a_chunk_a_whole_horizon_late_is_counted_and_nothing_else() -> None:
    scheduler, log = make()
    assert deliver(scheduler, SECOND_NS, SECOND_NS) is None
    late_ns = 3 * SECOND_NS
    before = scheduler.timeline
    assert deliver(scheduler, late_ns - 20 * PERIOD_NS, late_ns) == "stale"
    assert deliver(scheduler, late_ns + MS - 20 * PERIOD_NS, late_ns) is None
    assert before.indices[-1] == 19
    executed = [event for event in log.events if isinstance(event, ActionInForce)]
    assert executed[-1].index == 19 and executed[-1].t_ns == late_ns


def test_a_chunk_of_the_previous_episode_is_never_executed() -> None:
    scheduler, log = make()
    ticket = scheduler.begin_inference(SECOND_NS, SECOND_NS)
    scheduler.new_generation(SECOND_NS + 10 * MS)
    assert scheduler.on_chunk(chunk_for(ticket, 20), SECOND_NS + 200 * MS) == "generation"
    scheduler.advance(2 * SECOND_NS)
    assert not any(isinstance(event, ActionInForce) for event in log.events)
    assert scheduler.timeline.hold and scheduler.state == "bootstrap"


@pytest.mark.parametrize("laas", [True, False])
def test_of_results_that_pile_up_the_newest_is_kept(laas: bool) -> None:
    scheduler, log = make(SchedulerConfig(laas=laas), reach_m=math.inf)
    tickets = [scheduler.begin_inference(SECOND_NS + i * MS, SECOND_NS + i * MS) for i in range(9)]
    for ticket in tickets:
        scheduler.on_chunk(chunk_for(ticket, 20), SECOND_NS + 100 * MS)
    scheduler.advance(SECOND_NS + 100 * MS)
    executed = [event.sequence for event in log.events if isinstance(event, ActionInForce)]
    assert executed == [8]
    assert scheduler.counters.chunks_discarded == {"superseded": 8}


def test_angles_across_the_wrap_are_a_small_seam() -> None:
    published: list[Timeline] = []
    scheduler, _ = make(publish=published.append)
    low, high = np.zeros((20, 7), np.float32), np.zeros((20, 7), np.float32)
    low[:, 5], high[:, 5] = 0.005, 2 * np.pi - 0.005
    deliver(scheduler, SECOND_NS, SECOND_NS, actions=low)
    deliver(scheduler, SECOND_NS + 50 * MS, SECOND_NS + 100 * MS, actions=high)
    assert scheduler.counters.seam_max_rad == pytest.approx(0.01, abs=1e-6)
    quaternion = published[-1].setpoints[:, 3:7]
    assert (np.sum(quaternion[1:] * quaternion[:-1], axis=1) > 0).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"actions": np.full((20, 7), np.nan, np.float32)},
        {"actions": np.full((20, 7), np.inf, np.float32)},
        {"actions": np.full((20, 7), 5.1, np.float32)},
        {"actions": np.zeros((19, 7), np.float32)},
        {"actions": np.zeros((20, 6), np.float32)},
        {"t_obs_ns": 5 * SECOND_NS},
        {"control_period_s": 0.05},
    ],
    ids=["nan", "inf", "far", "short", "narrow", "from the future", "other grid"],
)
def test_an_impossible_chunk_is_discarded_as_invalid(changes: dict[str, Any]) -> None:
    scheduler, log = make()
    assert deliver(scheduler, SECOND_NS, SECOND_NS, **changes) == "invalid"
    assert [e.reason for e in log.events if isinstance(e, ChunkDiscarded)] == ["invalid"]
    assert scheduler.wants_inference(SECOND_NS)


def test_the_callers_actions_are_not_touched() -> None:
    scheduler, _ = make(SchedulerConfig(seam="blend"))
    actions = np.random.default_rng(0).normal(size=(20, 7)).astype(np.float32)
    copy = actions.copy()
    deliver(scheduler, SECOND_NS, SECOND_NS, actions=actions)
    deliver(scheduler, SECOND_NS + 50 * MS, SECOND_NS + 90 * MS, actions=actions)
    assert np.array_equal(actions, copy)


def test_a_hold_is_published_and_repeating_it_changes_nothing() -> None:
    published: list[Timeline] = []
    scheduler, log = make(publish=published.append)
    deliver(scheduler, SECOND_NS, SECOND_NS)
    scheduler.on_hold(SECOND_NS + 90 * MS)
    assert published[-1].hold and scheduler.state == "hold"
    assert scheduler.counters.actions_cleared == 20 - 3
    events = len(log.events)
    scheduler.on_hold(SECOND_NS + 95 * MS)
    assert len(log.events) == events and scheduler.counters.actions_cleared == 20 - 3


def test_a_chunk_size_that_the_stream_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="chunk size"):
        Scheduler(SchedulerConfig(), chunk_size=32, control_period_ns=PERIOD_NS, sink=Log())


def test_the_lead_shifts_knots_start_and_end_of_what_is_published() -> None:
    class Stream:
        def publish(self, *arrays: Any, **fields: Any) -> int:
            self.arrays, self.fields = arrays, fields
            return 1

    scheduler, _ = make(SchedulerConfig(lead_s=0.03))
    deliver(scheduler, SECOND_NS, SECOND_NS)
    stream = Stream()
    publish_timeline(scheduler.timeline, stream)
    t_ns, setpoints, chunk_ids, t_obs_ns = stream.arrays
    assert t_ns[0] == SECOND_NS + 20 * MS - 30 * MS
    assert setpoints.shape == (20, 8) and set(chunk_ids) == {0} and set(t_obs_ns) == {SECOND_NS}
    assert stream.fields == {
        "start_ns": SECOND_NS - 30 * MS,
        "end_ns": SECOND_NS + 800 * MS - 30 * MS,
        "generation": 0,
        "hold": False,
    }
