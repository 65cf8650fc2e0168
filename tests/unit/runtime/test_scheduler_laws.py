"""The scheduling laws under arbitrary latencies, drops, duplicates, reorderings, generations."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from scheduler_laws import LAWS, law_every_action_once, law_never_stale, law_newest_observation_wins
from scheduler_scenario import GRID_NS, Run, Scenario, play, scenarios


@pytest.mark.parametrize("law", [*LAWS, law_newest_observation_wins], ids=lambda law: law.__name__)
@settings(deadline=None, max_examples=150)
@given(scenario=scenarios(laas=True))
def test_law_of_streaming(law: Callable[[Run], None], scenario: Scenario) -> None:
    law(play(scenario))


@pytest.mark.parametrize(
    "law",
    [*(law for law in LAWS if law is not law_never_stale), law_every_action_once],
    ids=lambda law: law.__name__,
)
@settings(deadline=None, max_examples=100)
@given(scenario=scenarios(laas=False))
def test_law_without_streaming(law: Callable[[Run], None], scenario: Scenario) -> None:
    law(play(scenario))


@settings(deadline=None, max_examples=60)
@given(scenario=scenarios())
def test_the_log_is_a_function_of_the_arrivals(scenario: Scenario) -> None:
    first, second = play(scenario), play(scenario)
    assert first.events == second.events


@settings(deadline=None, max_examples=60)
@given(scenario=scenarios())
def test_the_log_does_not_depend_on_how_often_time_is_moved(scenario: Scenario) -> None:
    often = play(msgspec.structs.replace(scenario, tick_ns=GRID_NS))
    seldom = play(msgspec.structs.replace(scenario, tick_ns=50 * GRID_NS))
    assert often.events == seldom.events
