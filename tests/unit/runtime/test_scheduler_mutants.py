"""Each law bites: a scheduler with one fault in its source fails the law that names the fault."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import Phase, find, settings
from hypothesis.errors import NoSuchExample
from mutants import mutant, mutant_within
from scheduler_laws import (
    law_actions_are_conserved,
    law_every_action_once,
    law_generations_never_mix,
    law_guide_is_the_plan_until_the_chunk_arrives,
    law_knots_are_sound,
    law_never_stale,
    law_newest_observation_wins,
    law_no_repeat_no_skip,
    law_older_never_returns,
    law_one_fate,
    law_oracle_agrees,
    law_published_tells_the_truth,
)
from scheduler_scenario import Run, Scenario, play, scenarios

from dvla.runtime import plan_in_force, scheduler, timeline

Law = Callable[[Run], None]

IN_SCHEDULER: dict[str, tuple[str, str, bool, Law]] = {
    "no generation check": (
        "if chunk.generation != self._generation:",
        "if False:",
        True,
        law_generations_never_mix,
    ),
    "no newest-observation check": (
        "if newest_ns is not None and chunk.t_obs_ns <= newest_ns:",
        "if False:",
        True,
        law_older_never_returns,
    ),
    "a late chunk wins over the newest": (
        "if newest_ns is not None and chunk.t_obs_ns <= newest_ns:",
        "if newest_ns is not None and chunk.t_obs_ns == newest_ns:",
        True,
        law_newest_observation_wins,
    ),
    "duplicates are looked at again": ("if not begun:", "if False:", True, law_oracle_agrees),
    "time base at arrival": (
        "return max(chunk.t_obs_ns, self._anchor_ns or 0)",
        "return now_ns",
        True,
        law_oracle_agrees,
    ),
    "anchored motion forgotten": (
        "return max(chunk.t_obs_ns, self._anchor_ns or 0)",
        "return chunk.t_obs_ns",
        True,
        law_oracle_agrees,
    ),
    "anchored motion survives a hold": (
        "        self._anchor_ns = None\n\n    def _empty",
        "\n    def _empty",
        True,
        law_oracle_agrees,
    ),
    "anchored although the arm has moved": (
        "at_rest = chunk.t_obs_ns >= self._plan.moved_until_ns",
        "at_rest = True",
        True,
        law_oracle_agrees,
    ),
    "resumes by rewinding": (
        'self._config.resume == "anchor" and self._plan.state == "underrun"',
        'self._plan.state == "underrun"',
        True,
        law_oracle_agrees,
    ),
    "stale by one action too late": (
        "if first_action(tau_ns, now_ns, self._period_ns) >= self._chunk_size:",
        "if first_action(tau_ns, now_ns, self._period_ns) > self._chunk_size:",
        True,
        law_oracle_agrees,
    ),
    "overridden actions uncounted": (
        "self._plan.tally.actions_overridden += self._plan.left_of(old)",
        "pass",
        True,
        law_actions_are_conserved,
    ),
    "without streaming a chunk interrupts the running one": (
        "return max(now_ns, self._plan.without_waiting().end_ns)",
        "return now_ns",
        False,
        law_every_action_once,
    ),
    "without streaming stale actions are dropped": (
        "return max(now_ns, self._plan.without_waiting().end_ns)",
        "return chunk.t_obs_ns",
        False,
        law_every_action_once,
    ),
    "guided by a plan that has run dry": (
        'or not config.laas or self._plan.state != "running":',
        "or not config.laas:",
        True,
        law_guide_is_the_plan_until_the_chunk_arrives,
    ),
    "guided without streaming": (
        'config.seam != "rtc" or not config.laas or',
        'config.seam != "rtc" or',
        False,
        law_guide_is_the_plan_until_the_chunk_arrives,
    ),
    "guided whatever the seam": (
        'if config.seam != "rtc" or',
        "if",
        True,
        law_guide_is_the_plan_until_the_chunk_arrives,
    ),
    "guided on a grid that the chunk will not have": (
        "tau_ns = max(t_obs_ns, self._anchor_ns or 0)",
        "tau_ns = t_obs_ns",
        True,
        law_guide_is_the_plan_until_the_chunk_arrives,
    ),
    "the age of the observation is no part of the delay": (
        "else now_ns + p95_ns",
        "else tau_ns + p95_ns",
        True,
        law_guide_is_the_plan_until_the_chunk_arrives,
    ),
    "latencies are never learnt": (
        "self._latencies.add(now_ns - begun_ns)",
        "self._latencies.add(self._period_ns)",
        True,
        law_guide_is_the_plan_until_the_chunk_arrives,
    ),
    "a superseded chunk is not reported": (
        '        self._plan.discard_waiting(now_ns, "superseded")\n',
        "",
        False,
        law_one_fate,
    ),
}
"""Fault: (source, with the fault, latency-aware streaming, the law that notices)."""

IN_PLAN: dict[str, tuple[str, str, bool, Law]] = {
    "underrun one instant late": (
        "timeline.end_ns < bound_ns",
        "timeline.end_ns + 10_000_000 < bound_ns",
        True,
        law_oracle_agrees,
    ),
    "rows reported twice after a merge": (
        "self._cursor = int(np.count_nonzero(keep[:reported]))",
        "self._cursor = max(0, int(np.count_nonzero(keep[:reported])) - 1)",
        True,
        law_no_repeat_no_skip,
    ),
    "the old timeline stays published": (
        "            self._publish(self.timeline)",
        "            self._publish(self.timeline if self._cursor == 0 else self.without_waiting())",
        True,
        law_published_tells_the_truth,
    ),
    "the waiting slot is a queue": (
        "return select(self.timeline, self.timeline.sequences != self._waiting.sequence)",
        "return self.timeline",
        False,
        law_oracle_agrees,
    ),
    "what was in force before a clearing moves on": (
        "self._last_end_ns = min(self._last_end_ns, now_ns)",
        "self._last_end_ns = now_ns",
        True,
        law_oracle_agrees,
    ),
}

IN_TIMELINE: dict[str, tuple[str, str, bool, Law]] = {
    "one action too many is stale": (
        "(now_ns - tau_ns) // period_ns)",
        "(now_ns - tau_ns) // period_ns + 1)",
        True,
        law_never_stale,
    ),
    "one stale action is executed": (
        "(now_ns - tau_ns) // period_ns)",
        "(now_ns - tau_ns) // period_ns - 1)",
        True,
        law_never_stale,
    ),
    "an action that has just ended is executed": (
        "(now_ns - tau_ns) // period_ns)",
        "(now_ns - tau_ns - 1) // period_ns)",
        True,
        law_never_stale,
    ),
    "the overridden action stays": (
        "kept = timeline.in_force_ns < takeover_ns",
        "kept = timeline.in_force_ns < takeover_ns + timeline.period_ns",
        True,
        law_no_repeat_no_skip,
    ),
    "knots at the due time": (
        "self.period_ns // 2 - self.lead_ns",
        "-self.lead_ns",
        True,
        law_knots_are_sound,
    ),
    "knots of both grids at a seam": (
        "mask[:-1] = due_ns[:-1] + timeline.period_ns // 2 <= later[1:]",
        "mask[:-1] = later[1:] > 0",
        True,
        law_knots_are_sound,
    ),
    "future actions are trimmed": (
        "keep = (mask & ~past) | (timeline.in_force_ns >= now_ns)",
        "keep = (mask & ~past) & (timeline.in_force_ns <= now_ns)",
        True,
        law_oracle_agrees,
    ),
}


def fails(law: Law, module: ModuleType, *, laas: bool) -> bool:
    """Search for a life of the module's scheduler that breaks a law."""

    def broken(scenario: Scenario) -> bool:
        try:
            law(play(scenario, module))
        except AssertionError:
            return True
        return False

    search = settings(
        max_examples=6000, deadline=None, database=None, derandomize=True, phases=[Phase.generate]
    )
    try:
        find(scenarios(laas=laas), broken, settings=search)
    except NoSuchExample:
        return False
    return True


@pytest.mark.parametrize("fault", IN_SCHEDULER)
def test_a_law_notices_a_faulty_scheduler(fault: str) -> None:
    old, new, laas, law = IN_SCHEDULER[fault]
    assert fails(law, mutant(scheduler, old, new), laas=laas)


@pytest.mark.parametrize("fault", IN_PLAN)
def test_a_law_notices_a_plan_that_is_executed_wrongly(fault: str) -> None:
    old, new, laas, law = IN_PLAN[fault]
    assert fails(law, mutant_within([scheduler], plan_in_force, old, new), laas=laas)


@pytest.mark.parametrize("fault", IN_TIMELINE)
def test_a_law_notices_a_faulty_timeline(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, laas, law = IN_TIMELINE[fault]
    faulty = mutant(timeline, old, new)
    for module, names in (
        (scheduler, ("merge", "first_action", "empty_timeline")),
        (plan_in_force, ("select", "trim_mask")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, getattr(faulty, name))
    # The law's own look at the knots is part of what is mutated: it sees what the stream sees.
    monkeypatch.setattr("scheduler_laws.knot_mask", faulty.knot_mask)
    assert fails(law, scheduler, laas=laas)
