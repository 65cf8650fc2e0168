"""The scheduling laws as functions of a run; mutants go through the same ones."""

from __future__ import annotations

import itertools

import numpy as np
from scheduler_oracle import Oracle
from scheduler_scenario import CHUNK_SIZE, GRID_NS, PERIOD_NS, Run

from dvla.runtime.events import ActionInForce, ChunkDiscarded, ChunkMerged, SchedulerStateChanged
from dvla.runtime.timeline import CAPACITY_KNOTS, knot_mask


def executed(run: Run) -> list[ActionInForce]:
    """Return the actions that came into force, in order."""
    return [event for event in run.events if isinstance(event, ActionInForce)]


def merged(run: Run) -> dict[int, ChunkMerged]:
    """Return the merged chunks by sequence."""
    return {event.sequence: event for event in run.events if isinstance(event, ChunkMerged)}


def in_force_by_grid(run: Run) -> list[tuple[int, int] | None]:
    """Return what the event log says is in force at every instant of the grid."""
    grid: list[tuple[int, int] | None] = []
    now: tuple[int, int] | None = None
    todo = list(run.events)
    for t_ns in range(0, run.end_ns, GRID_NS):
        while todo and todo[0].t_ns <= t_ns:
            event = todo.pop(0)
            if isinstance(event, ActionInForce):
                now = (event.sequence, event.index)
            elif isinstance(event, SchedulerStateChanged) and event.state != "running":
                now = None
        grid.append(now)
    return grid


def law_oracle_agrees(run: Run) -> None:
    """At every instant, and for every chunk's fate, the slow reference says the same."""
    oracle = Oracle(run)
    numbers = sequence_numbers(run)
    assert [delivery.reason for delivery in run.deliveries] == oracle.verdicts
    for step, said in enumerate(in_force_by_grid(run)):
        expected = oracle.in_force(step * GRID_NS)
        assert said == (expected and (numbers[expected[0]], expected[1])), step * GRID_NS


def sequence_numbers(run: Run) -> dict[int, int]:
    """Return the sequence that each inference of the scenario got."""
    begins = [step.number for step in run.steps if step.kind == "begin"]
    return {number: sequence for sequence, number in enumerate(begins)}


def law_newest_observation_wins(run: Run) -> None:
    """Under streaming, what is in force has the newest observation of all that count so far."""
    for event in executed(run):
        for delivery in run.deliveries:
            counts = delivery.reason is None and delivery.ticket.generation == event.generation
            if counts and delivery.t_ns <= event.t_ns:
                assert delivery.ticket.t_obs_ns <= event.t_obs_ns


def law_older_never_returns(run: Run) -> None:
    """Once a newer observation has supplied an action, no older one does."""
    newest: dict[int, int] = {}
    for event in executed(run):
        assert event.t_obs_ns >= newest.get(event.generation, 0)
        newest[event.generation] = event.t_obs_ns


def law_never_stale(run: Run) -> None:
    """An action is only ever in force in its own time, and its time base is one of the laws'."""
    chunks = merged(run)
    for event in executed(run):
        due_ns = chunks[event.sequence].tau_ns + event.index * PERIOD_NS
        assert due_ns <= event.t_ns < due_ns + PERIOD_NS
    anchors = 0
    for chunk in chunks.values():
        if chunk.tau_ns not in (chunk.t_obs_ns, anchors):
            assert chunk.tau_ns == chunk.t_ns and chunk.first_action == 0
            anchors = chunk.tau_ns
        assert chunk.first_action == (chunk.t_ns - chunk.tau_ns) // PERIOD_NS


def law_no_repeat_no_skip(run: Run) -> None:
    """In one chunk's run each index follows the one before, one period after it was due."""
    chunks = merged(run)
    actions = executed(run)
    for before, after in itertools.pairwise(actions):
        assert before.t_ns < after.t_ns
        if before.sequence == after.sequence:
            assert after.index == before.index + 1
            assert after.t_ns == chunks[after.sequence].tau_ns + after.index * PERIOD_NS
    for sequence, chunk in chunks.items():
        mine = [event.index for event in actions if event.sequence == sequence]
        assert mine == list(range(chunk.first_action, chunk.first_action + len(mine)))


def law_every_action_once(run: Run) -> None:
    """Without streaming every merged chunk plays from its first action to its last, unless held."""
    resets = [step.t_ns for step in run.steps if step.kind in ("hold", "generation")]
    for sequence, chunk in merged(run).items():
        mine = [event.index for event in executed(run) if event.sequence == sequence]
        end_ns = chunk.tau_ns + CHUNK_SIZE * PERIOD_NS
        cut_ns = min([t_ns for t_ns in resets if chunk.tau_ns < t_ns < end_ns], default=end_ns)
        played = -(-(cut_ns - chunk.tau_ns) // PERIOD_NS)
        assert chunk.first_action == 0
        assert mine == list(range(played))


def law_generations_never_mix(run: Run) -> None:
    """An action is of the generation that is current when it comes into force."""
    tickets = {delivery.ticket.sequence: delivery.ticket for delivery in run.deliveries}
    starts = [step.t_ns for step in run.steps if step.kind == "generation"]
    for event in executed(run):
        # At the very instant of a new generation the order of the two decides.
        current = {sum(t < event.t_ns for t in starts), sum(t <= event.t_ns for t in starts)}
        assert event.generation in current
        assert tickets[event.sequence].generation == event.generation


def law_one_fate(run: Run) -> None:
    """Every delivery is merged or discarded, once, and counted."""
    merges = [event for event in run.events if isinstance(event, ChunkMerged)]
    discards = [event for event in run.events if isinstance(event, ChunkDiscarded)]
    assert len(merges) + len(discards) == len(run.deliveries)
    assert len(merges) == len(merged(run)) == run.counters.chunks_merged
    reasons = [event.reason for event in discards]
    assert run.counters.chunks_discarded == {r: reasons.count(r) for r in set(reasons)}


def law_actions_are_conserved(run: Run) -> None:
    """Every action of a merged or wholly stale chunk is accounted for."""
    c = run.counters
    chunks = c.chunks_merged + c.chunks_discarded.get("stale", 0)
    parts = c.actions_executed + c.actions_stale + c.actions_overridden + c.actions_cleared
    assert parts == chunks * CHUNK_SIZE
    assert c.actions_executed == len(executed(run))


def law_published_tells_the_truth(run: Run) -> None:
    """Between two publications the published timeline says what is in force."""
    said = in_force_by_grid(run)
    times = [t_ns for t_ns, _ in run.published] + [run.end_ns]
    for (t_ns, timeline), next_ns in zip(run.published, times[1:], strict=True):
        for instant_ns in range(t_ns, next_ns, GRID_NS):
            row = timeline.row_in_force(instant_ns)
            known = (int(timeline.sequences[row]), int(timeline.indices[row])) if row >= 0 else None
            assert known == said[instant_ns // GRID_NS]


def law_knots_are_sound(run: Run) -> None:
    """Knots rise by half a period or more, lie at mid-action, fit the slot, and reach the past."""
    for t_ns, timeline in run.published:
        assert timeline.hold == (len(timeline) == 0)
        mask = knot_mask(timeline)
        knots_ns = timeline.due_ns[mask] + timeline.knot_offset_ns
        lead_ns = round(run.scenario.config.lead_s * 1e9)
        assert np.array_equal(knots_ns, timeline.due_ns[mask] + PERIOD_NS // 2 - lead_ns)
        assert (np.diff(knots_ns) >= PERIOD_NS // 2).all()
        assert len(timeline) <= CAPACITY_KNOTS
        assert np.count_nonzero(knots_ns <= t_ns) <= 2


def law_guide_is_the_plan_until_the_chunk_arrives(run: Run) -> None:
    """An inference is guided where, and only where, the plan that is executed has an action."""
    config = run.scenario.config
    for t_ns, ticket in run.begun:
        motion_ns = motion_start(run, t_ns)
        if config.seam != "rtc" or not config.laas or motion_ns is None:
            assert ticket.guide is None
            continue
        timeline = [line for at_ns, line in run.published if at_ns <= t_ns][-1]
        anchors = [
            event.tau_ns
            for event in merged(run).values()
            if motion_ns <= event.t_ns == event.tau_ns <= t_ns
        ]
        tau_ns = max([ticket.t_obs_ns, *anchors])
        latencies_ns = first_latencies(run, t_ns)
        has_action = [
            motion_ns <= tau_ns + i * PERIOD_NS < timeline.end_ns for i in range(CHUNK_SIZE)
        ]
        if not any(has_action):
            assert ticket.guide is None
            continue
        assert ticket.guide is not None
        arrival_ns = t_ns + max(latencies_ns)
        for i, weight in enumerate(ticket.guide.prev_weight):
            instant_ns = tau_ns + i * PERIOD_NS
            # Of the past a plan knows no more than what a merge left of it.
            known = has_action[i] and (weight > 0 or instant_ns >= t_ns)
            assert (weight > 0) == known, (i, instant_ns)
            assert (weight == 1) == (known and instant_ns < arrival_ns)
            row, later = (timeline.row_in_force(instant_ns + d) for d in (0, PERIOD_NS))
            if min(row, later) >= 0 and timeline.sequences[row] == timeline.sequences[later]:
                steps = (instant_ns - timeline.due_ns[row]) / PERIOD_NS + timeline.indices[row]
                wanted = timeline.sequences[row] + steps / 100
                assert abs(ticket.guide.prev_actions[i, 0] - wanted) < 1e-5


def motion_start(run: Run, t_ns: int) -> int | None:
    """Return since when the motion of an instant goes on, or None where nothing moves."""
    start_ns = None
    for event in run.events:
        if not isinstance(event, SchedulerStateChanged) or event.t_ns > t_ns:
            continue
        if event.state == "running":
            start_ns = event.t_ns
        # What ends at this very instant is reported after what begins at it.
        elif event.state != "underrun" or event.t_ns < t_ns:
            start_ns = None
    return start_ns


def first_latencies(run: Run, t_ns: int) -> list[int]:
    """Return how long each inference took whose chunk has arrived by an instant."""
    begins_ns = {ticket.sequence: begin_ns for begin_ns, ticket in run.begun}
    arrivals_ns: dict[int, int] = {}
    for delivery in run.deliveries:
        if delivery.t_ns <= t_ns:
            arrivals_ns.setdefault(delivery.ticket.sequence, delivery.t_ns)
    return [at_ns - begins_ns[sequence] for sequence, at_ns in arrivals_ns.items()]


LAWS = (
    law_oracle_agrees,
    law_older_never_returns,
    law_never_stale,
    law_no_repeat_no_skip,
    law_generations_never_mix,
    law_one_fate,
    law_actions_are_conserved,
    law_published_tells_the_truth,
    law_knots_are_sound,
    law_guide_is_the_plan_until_the_chunk_arrives,
)
"""Laws of every run under streaming; without it all but ``law_never_stale`` hold as well."""
