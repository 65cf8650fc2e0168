"""Arbitrary lives of a scheduler, played under virtual time: what arrived, what came of it.

All times are multiples of ``GRID_NS``, a divisor of the control period, so that instants coincide
often (an arrival at the very end of an action) and the grid's instants see every change.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import numpy as np
from hypothesis import strategies as st

from dvla.runtime import scheduler as scheduler_module
from dvla.runtime.chunk import Chunk
from dvla.runtime.config import SchedulerConfig
from dvla.runtime.events import Event
from dvla.runtime.scheduler_state import SchedulerCounters, Ticket
from dvla.runtime.timeline import Timeline

PERIOD_NS = 40_000_000
GRID_NS = 10_000_000
CHUNK_SIZE = 5
Kind = Literal["deliver", "generation", "hold", "begin"]
ORDER: tuple[Kind, ...] = ("deliver", "generation", "hold", "begin")
"""What happens first among things that happen at one instant."""


class Inference(msgspec.Struct, frozen=True):
    """When it begins, how old its observation is then, and when its chunk arrives, if at all."""

    begin_ns: int
    age_ns: int
    arrivals_ns: tuple[int, ...]


class Scenario(msgspec.Struct, frozen=True):
    """A life: inferences, new generations, holds, and how often time is moved in between."""

    config: SchedulerConfig
    inferences: tuple[Inference, ...]
    generations_ns: tuple[int, ...] = ()
    holds_ns: tuple[int, ...] = ()
    tick_ns: int = GRID_NS


class Delivery(msgspec.Struct, frozen=True):
    """A chunk that arrived; ``reason`` is the scheduler's verdict."""

    t_ns: int
    ticket: Ticket
    reason: str | None


class Step(msgspec.Struct, frozen=True):
    """Something that happens to the scheduler; ``number`` is that of the inference."""

    t_ns: int
    kind: Kind
    number: int = -1


class Run(msgspec.Struct, frozen=True):
    """Everything that can be seen of a life from outside."""

    scenario: Scenario
    steps: tuple[Step, ...]
    events: list[Event]
    begun: list[tuple[int, Ticket]]
    deliveries: list[Delivery]
    published: list[tuple[int, Timeline]]
    counters: SchedulerCounters
    end_ns: int


class Log:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)


def chunk_for(ticket: Ticket, chunk_size: int = CHUNK_SIZE) -> Chunk:
    """Return a chunk whose actions tell where they come from: x = sequence + index / 100 [m]."""
    actions = np.zeros((chunk_size, 7), np.float32)
    actions[:, 0] = ticket.sequence + np.arange(chunk_size) / 100
    return Chunk(
        actions=actions,
        t_obs_ns=ticket.t_obs_ns,
        inference_s=0.0,
        control_period_s=PERIOD_NS / 1e9,
        sequence=ticket.sequence,
        generation=ticket.generation,
    )


def steps_of(scenario: Scenario) -> tuple[Step, ...]:
    """Return what happens, in order."""
    steps = [Step(t_ns, "generation") for t_ns in scenario.generations_ns]
    steps += [Step(t_ns, "hold") for t_ns in scenario.holds_ns]
    for number, inference in enumerate(scenario.inferences):
        steps.append(Step(inference.begin_ns, "begin", number))
        steps += [Step(t_ns, "deliver", number) for t_ns in inference.arrivals_ns]
    return tuple(sorted(steps, key=lambda step: (step.t_ns, ORDER.index(step.kind))))


def play(scenario: Scenario, module: Any = scheduler_module) -> Run:
    """Play a life through the scheduler of a module, which may be a mutant."""
    log, published, deliveries = Log(), [], []
    steps = steps_of(scenario)
    now_ns = 0
    scheduler = module.Scheduler(
        scenario.config,
        chunk_size=CHUNK_SIZE,
        control_period_ns=PERIOD_NS,
        sink=log,
        reach_m=math.inf,  # positions tell which action it is
        publish=lambda timeline: published.append((now_ns, timeline)),
    )
    end_ns = max((step.t_ns for step in steps), default=0) + 4 * CHUNK_SIZE * PERIOD_NS
    tickets: dict[int, Ticket] = {}
    todo = list(steps)
    while now_ns <= end_ns:
        while todo and todo[0].t_ns <= now_ns:
            step = todo.pop(0)
            if step.kind == "generation":
                scheduler.new_generation(now_ns)
            elif step.kind == "hold":
                scheduler.on_hold(now_ns)
            elif step.kind == "begin":
                age_ns = scenario.inferences[step.number].age_ns
                tickets[step.number] = scheduler.begin_inference(now_ns, now_ns - age_ns)
            else:
                ticket = tickets[step.number]
                reason = scheduler.on_chunk(chunk_for(ticket), now_ns)
                deliveries.append(Delivery(now_ns, ticket, reason))
        if now_ns % scenario.tick_ns == 0:
            scheduler.advance(now_ns)
        now_ns += GRID_NS
    scheduler.advance(end_ns)
    begun = [(scenario.inferences[number].begin_ns, ticket) for number, ticket in tickets.items()]
    counters = scheduler.counters
    return Run(scenario, steps, log.events, begun, deliveries, published, counters, end_ns)


def configs(**fixed: Any) -> st.SearchStrategy[SchedulerConfig]:
    """Draw configurations; keyword arguments fix fields."""
    fields: dict[str, Any] = {
        "ci": st.booleans(),
        "laas": st.booleans(),
        "bootstrap": st.sampled_from(["anchor", "discard"]),
        "resume": st.sampled_from(["anchor", "discard"]),
        "seam": st.sampled_from(["switch", "blend", "rtc"]),
        "guide": st.sampled_from(["published", "aged"]),
    }
    fields |= {key: st.just(value) for key, value in fixed.items()}
    return st.fixed_dictionaries(fields).map(_config)


def _config(fields: dict[str, Any]) -> SchedulerConfig:
    """Build a configuration; without --seam rtc there is no guide that could be aged."""
    guide = fields["guide"] if fields["seam"] == "rtc" else "published"
    return SchedulerConfig(**(fields | {"guide": guide}))


def _inferences() -> st.SearchStrategy[Inference]:
    def build(begin: int, age: int, latencies: list[int]) -> Inference:
        arrivals = tuple(sorted((begin + latency) * GRID_NS for latency in latencies))
        return Inference(begin * GRID_NS, age * GRID_NS, arrivals)

    # Latencies reach past a chunk's 20 grid steps; none at all is a drop, two are a duplicate.
    return st.builds(
        build, st.integers(10, 100), st.integers(0, 6), st.lists(st.integers(1, 30), max_size=2)
    )


def scenarios(**fixed: Any) -> st.SearchStrategy[Scenario]:
    """Draw lives with drops, duplicates, reorderings, holds and generations."""
    instants = st.lists(st.integers(10, 110).map(lambda step: step * GRID_NS), max_size=2)
    return st.builds(
        Scenario,
        configs(**fixed),
        st.lists(_inferences(), min_size=1, max_size=9).map(tuple),
        instants.map(tuple),
        instants.map(tuple),
        st.sampled_from([GRID_NS, 4 * GRID_NS, 50 * GRID_NS]),
    )
