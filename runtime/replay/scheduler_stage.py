"""The scheduler again: recorded inputs in, events and timelines out."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dvla.runtime.config import SchedulerConfig
from dvla.runtime.events import (
    ActionInForce,
    AnyEvent,
    ChunkArrived,
    ChunkDiscarded,
    ChunkMerged,
    Event,
    InferenceStarted,
    SchedulerStateChanged,
    SchedulerTold,
)
from dvla.runtime.replay.inputs import RunInputs
from dvla.runtime.replay.result import Difference, StageResult, same
from dvla.runtime.replay.scheduler_journal import chunk_of
from dvla.runtime.scheduler import Scheduler
from dvla.runtime.scheduler_state import Ticket
from dvla.runtime.timeline import Timeline

DECISIONS = (InferenceStarted, ChunkMerged, ChunkDiscarded, ActionInForce, SchedulerStateChanged)
INPUTS = (InferenceStarted, ChunkArrived, SchedulerTold)


class Publication(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A timeline that the scheduler published, and when."""

    t_ns: int
    timeline: Timeline


class SchedulerRerun:
    """A scheduler that is told what the recorded one was told.

    Args:
        inputs: of the run.
        config: the switches; the run's own for an exact replay.
    """

    def __init__(self, inputs: RunInputs, config: SchedulerConfig) -> None:
        self.events: list[Event] = []
        self.publications: list[Publication] = []
        self._now_ns = 0
        self._arrived_ns = -1
        self.scheduler = Scheduler(
            config,
            chunk_size=inputs.chunk_size,
            control_period_ns=inputs.control_period_ns,
            sink=self,
            publish=self._publish,
            max_observation_age_ns=round(inputs.limits.max_observation_age_s * 1e9),
        )

    def emit(self, event: Event) -> None:
        """Take an event of the scheduler."""
        self.events.append(event)

    def tell(self, event: InferenceStarted | ChunkArrived | SchedulerTold) -> None:
        """Repeat one recorded input."""
        self._now_ns = event.t_ns
        scheduler = self.scheduler
        match event:
            case InferenceStarted():
                scheduler.advance(event.t_ns)  # the policy loop advances before it begins
                scheduler.begin_inference(event.t_ns, event.t_obs_ns)
            case ChunkArrived():
                scheduler.on_chunk(chunk_of(event), event.t_ns)
                self._arrived_ns = event.t_ns
            case SchedulerTold(what="hold"):
                if event.t_ns == self._arrived_ns:  # the policy loop has advanced in between
                    scheduler.advance(event.t_ns)
                scheduler.on_hold(event.t_ns)
            case SchedulerTold(what="generation"):
                scheduler.new_generation(event.t_ns)
            case SchedulerTold():
                ticket = Ticket(sequence=event.sequence, generation=0, t_obs_ns=0)
                scheduler.abandon(ticket, event.t_ns)

    def _publish(self, timeline: Timeline) -> None:
        self.publications.append(Publication(t_ns=self._now_ns, timeline=timeline))


def rerun_scheduler(events: Iterable[AnyEvent], inputs: RunInputs) -> SchedulerRerun:
    """Run the scheduler on everything that the recorded one was told.

    Args:
        events: of the run, in the order of their times.
        inputs: of the run.
    """
    rerun = SchedulerRerun(inputs, inputs.scheduler)
    end_ns = 0
    for event in events:
        if isinstance(event, DECISIONS):
            end_ns = max(end_ns, event.t_ns)
        if isinstance(event, INPUTS):
            rerun.tell(event)
    rerun.scheduler.advance(end_ns)
    return rerun


def compare_decisions(
    recorded: Iterable[AnyEvent], replayed: Iterable[Event], *, whole: bool = True
) -> StageResult:
    """Compare every event of the scheduler, field by field, in the order of their times.

    Of a recording that was cut off (not ``whole``), what the last inputs led to may be missing.
    """
    theirs = [event for event in recorded if isinstance(event, DECISIONS)]
    ours = sorted(
        (event for event in replayed if isinstance(event, DECISIONS)), key=lambda e: e.t_ns
    )
    for index, (a, b) in enumerate(zip(theirs, ours, strict=False)):
        difference = _difference(a, b, index)
        if difference is not None:
            return StageResult(stage="scheduler", compared=index + 1, difference=difference)
    compared = min(len(theirs), len(ours))
    if len(theirs) < len(ours) and not whole:
        return StageResult(stage="scheduler", compared=compared, cut_off=True)
    if len(theirs) != len(ours):
        longer = theirs if len(theirs) > len(ours) else ours
        found = Difference(
            index=compared,
            t_ns=longer[compared].t_ns,
            what="number of events",
            recorded=str(len(theirs)),
            replayed=str(len(ours)),
        )
        return StageResult(stage="scheduler", compared=compared, difference=found)
    return StageResult(stage="scheduler", compared=compared)


def _difference(recorded: Event, replayed: Event, index: int) -> Difference | None:
    if type(recorded) is not type(replayed):
        return Difference(
            index=index,
            t_ns=recorded.t_ns,
            what="kind of event",
            recorded=type(recorded).__name__,
            replayed=type(replayed).__name__,
        )
    for name in recorded.__struct_fields__:
        a, b = getattr(recorded, name), getattr(replayed, name)
        if name != "detail" and not same(a, b):
            return Difference(
                index=index,
                t_ns=recorded.t_ns,
                what=f"{type(recorded).__name__}.{name}",
                recorded=repr(a),
                replayed=repr(b),
            )
    return None
