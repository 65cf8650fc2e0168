"""The scheduler in a closed loop: ablation cells, bootstrap, resume, latency beyond the chunk."""

from __future__ import annotations

import itertools

import pytest
from closed_loop import MS, START_NS, ClosedLoop
from scheduler_scenario import PERIOD_NS

from dvla.runtime.config import SchedulerConfig
from dvla.runtime.events import InferenceStarted, SchedulerStateChanged


def test_the_four_cells_of_the_ablation_give_four_event_logs() -> None:
    logs = [
        ClosedLoop(SchedulerConfig(ci=ci, laas=laas), lambda _: 226).run(4000).log.events
        for ci, laas in itertools.product((False, True), repeat=2)
    ]
    for one, other in itertools.combinations(logs, 2):
        assert one != other


def test_neither_switch_waits_for_the_whole_chunk_and_for_the_next_inference() -> None:
    loop = ClosedLoop(SchedulerConfig(ci=False, laas=False), lambda _: 226).run(3000)
    assert loop.indices()[:40] == list(range(20)) * 2
    starts = [event.t_ns for event in loop.events(InferenceStarted)]
    assert starts[1] == START_NS + (226 + 800) * MS
    assert loop.scheduler.counters.underruns == 2


def test_continuous_inference_alone_never_runs_dry_and_drops_nothing() -> None:
    loop = ClosedLoop(SchedulerConfig(ci=True, laas=False), lambda _: 226).run(4000)
    assert loop.indices() == [i % 20 for i in range(len(loop.indices()))]
    assert loop.scheduler.counters.underruns == 0
    assert loop.scheduler.counters.chunks_discarded["superseded"] > 0


def test_streaming_alone_drops_what_is_stale_after_each_underrun() -> None:
    loop = ClosedLoop(SchedulerConfig(ci=False, laas=True), lambda _: 226).run(4000)
    first, second = loop.merges()[:2]
    assert first.first_action == 0
    assert second.first_action == (second.t_ns - second.t_obs_ns) // PERIOD_NS == 5 + 1
    assert loop.scheduler.counters.underruns > 0


def test_both_switches_execute_every_instant_without_an_underrun() -> None:
    loop = ClosedLoop(SchedulerConfig(), lambda _: 226).run(4000)
    assert loop.scheduler.counters.underruns == 0
    starts = [event.t_ns for event in loop.events(InferenceStarted)]
    assert [b - a for a, b in itertools.pairwise(starts)] == [226 * MS] * (len(starts) - 1)
    assert all(merge.tau_ns == merge.t_obs_ns for merge in loop.merges()[2:])


def test_an_observation_from_before_the_anchored_motion_belongs_to_its_beginning() -> None:
    loop = ClosedLoop(SchedulerConfig(), lambda _: 226).run(1000)
    first, second = loop.merges()[:2]
    assert (first.tau_ns, first.first_action) == (START_NS + 226 * MS, 0)
    # The second observation was captured 26 ms before the motion began: the arm was at rest.
    assert second.t_obs_ns < first.tau_ns == second.tau_ns
    assert second.first_action == 5


def test_bootstrap_discard_starts_in_the_middle_of_the_first_chunk() -> None:
    loop = ClosedLoop(SchedulerConfig(bootstrap="discard"), lambda _: 226).run(300)
    assert loop.indices()[0] == 226 // 40


@pytest.mark.parametrize(("resume", "first"), [("discard", 5), ("anchor", 0)])
def test_after_an_underrun_the_motion_is_resumed_as_configured(resume: str, first: int) -> None:
    config = SchedulerConfig(resume=resume)  # type: ignore[arg-type]
    loop = ClosedLoop(config, lambda n: None if 2 <= n <= 6 else 200).run(3000)
    underrun = next(e for e in loop.events(SchedulerStateChanged) if e.state == "underrun")
    resumed = next(merge for merge in loop.merges() if merge.t_ns > underrun.t_ns)
    assert resumed.first_action == first
    assert loop.states()[:3] == ["running", "underrun", "running"]
    assert loop.scheduler.counters.inferences_abandoned == 5


def test_after_a_commanded_hold_the_next_motion_starts_at_its_beginning() -> None:
    loop = ClosedLoop(SchedulerConfig(), lambda _: 200).run(700)
    loop.scheduler.on_hold(loop.now_ns)
    held_ns = loop.now_ns
    loop.run(1000)
    after = [merge for merge in loop.merges() if merge.t_ns > held_ns]
    # The chunk under way at the hold saw an arm that has moved since: it is indexed by its time.
    assert after[0].t_obs_ns < held_ns and after[0].tau_ns == after[0].t_obs_ns
    assert loop.states() == ["running", "hold", "running"]


def test_an_arm_at_rest_since_the_observation_is_anchored_after_a_hold() -> None:
    loop = ClosedLoop(SchedulerConfig(), lambda n: None if n == 3 else 200).run(700)
    loop.scheduler.on_hold(loop.now_ns)
    held_ns = loop.now_ns
    loop.run(1000)
    after = [merge for merge in loop.merges() if merge.t_ns > held_ns]
    assert after[0].tau_ns == after[0].t_ns and after[0].first_action == 0


def test_a_policy_slower_than_its_chunks_holds_and_says_so() -> None:
    loop = ClosedLoop(SchedulerConfig(), lambda _: 2000).run(12000)
    assert loop.states() == ["running", "underrun", "too_slow"]
    detail = loop.events(SchedulerStateChanged)[-1].detail
    assert "2.00 s from observation to arrival" in detail
    assert "a chunk lasts 0.80 s (20 actions * 40 ms)" in detail
    assert loop.indices() == list(range(20))
    counters = loop.scheduler.counters
    assert counters.chunks_discarded["stale"] == 4 and counters.chunks_merged == 1
    assert loop.scheduler.timeline.hold


def test_a_motion_that_the_arm_would_refuse_as_too_old_is_never_anchored() -> None:
    # 1201 ms at arrival and 800 ms of actions: the last of them would be 2001 ms old.
    loop = ClosedLoop(SchedulerConfig(), lambda _: 1201, max_age_ms=2000).run(8000)
    assert loop.states() == ["too_slow"]
    assert loop.indices() == []
    assert ClosedLoop(SchedulerConfig(), lambda _: 1200, max_age_ms=2000).run(8000).indices()


def test_short_episodes_do_not_hide_that_a_policy_is_too_slow() -> None:
    loop = ClosedLoop(SchedulerConfig(), lambda _: 2000, max_age_ms=2000)
    for _ in range(3):
        loop.run(4500)  # two stale chunks, of which the second counts for this episode alone
        loop.scheduler.new_generation(loop.now_ns)
    assert "too_slow" in loop.states()


def test_the_first_chunk_that_is_not_wholly_stale_ends_too_slow() -> None:
    loop = ClosedLoop(SchedulerConfig(), lambda n: 2000 if n < 5 else 200).run(12000)
    assert loop.states() == ["running", "underrun", "too_slow", "running"]
    resumed = loop.merges()[1]
    assert resumed.tau_ns == resumed.t_obs_ns and resumed.first_action == 5


def test_two_stale_chunks_and_a_good_one_are_not_too_slow() -> None:
    loop = ClosedLoop(SchedulerConfig(), lambda n: 200 if n % 3 == 0 else 1000).run(20000)
    assert "too_slow" not in loop.states()
    assert loop.scheduler.counters.chunks_discarded["stale"] > 3


def test_without_streaming_nothing_is_ever_too_slow() -> None:
    loop = ClosedLoop(SchedulerConfig(laas=False), lambda _: 2000).run(12000)
    assert "too_slow" not in loop.states() and loop.indices()[:40] == list(range(20)) * 2


def test_the_next_inference_is_foreseen() -> None:
    loop = ClosedLoop(SchedulerConfig(ci=False), lambda _: 200).run(300)
    scheduler = loop.scheduler
    assert scheduler.next_inference_ns(loop.now_ns) == scheduler.timeline.end_ns
    assert not scheduler.wants_inference(scheduler.timeline.end_ns - 1)
    assert scheduler.wants_inference(scheduler.timeline.end_ns)
    scheduler.begin_inference(loop.now_ns, loop.now_ns)
    assert scheduler.next_inference_ns(loop.now_ns) is None
