"""The scheduler that also tells what it was told, so that a run can be replayed."""

from __future__ import annotations

from typing import Any

import numpy as np

from dvla.runtime.chunk import Chunk
from dvla.runtime.events import ChunkArrived, EventSink, SchedulerTold
from dvla.runtime.scheduler import Scheduler
from dvla.runtime.scheduler_state import DiscardReason, Ticket


class JournaledScheduler(Scheduler):
    """A ``Scheduler`` whose inputs become events before it acts on them.

    ``advance`` is no input: what it reports carries its own times. The beginning of an inference is
    an event already.

    Args:
        args: of ``Scheduler``.
        sink: where its events and its inputs go.
        kwargs: of ``Scheduler``.
    """

    def __init__(self, *args: Any, sink: EventSink, **kwargs: Any) -> None:
        super().__init__(*args, sink=sink, **kwargs)
        self._journal = sink

    def on_chunk(self, chunk: Chunk, now_ns: int) -> DiscardReason | None:
        """Take a chunk, after its actions went into the journal as they came."""
        self._journal.emit(chunk_arrived(chunk, now_ns))
        return super().on_chunk(chunk, now_ns)

    def on_hold(self, now_ns: int, reason: str = "commanded hold") -> None:
        """Hold."""
        self._journal.emit(SchedulerTold(t_ns=now_ns, what="hold"))
        super().on_hold(now_ns, reason)

    def new_generation(self, now_ns: int) -> int:
        """Begin a new episode or instruction."""
        self._journal.emit(SchedulerTold(t_ns=now_ns, what="generation"))
        return super().new_generation(now_ns)

    def abandon(self, ticket: Ticket, now_ns: int) -> None:
        """Give an inference up."""
        self._journal.emit(SchedulerTold(t_ns=now_ns, what="abandon", sequence=ticket.sequence))
        super().abandon(ticket, now_ns)


def chunk_arrived(chunk: Chunk, now_ns: int) -> ChunkArrived:
    """Return the journal's record of a chunk; whatever its shape, the bytes are kept."""
    actions = np.ascontiguousarray(chunk.actions, "<f4")
    rows, columns = actions.shape if actions.ndim == 2 else (1, actions.size)
    return ChunkArrived(
        t_ns=now_ns,
        sequence=chunk.sequence,
        generation=chunk.generation,
        t_obs_ns=chunk.t_obs_ns,
        inference_s=chunk.inference_s,
        control_period_s=chunk.control_period_s,
        rows=rows,
        columns=columns,
        actions=actions.tobytes(),
    )


def chunk_of(event: ChunkArrived) -> Chunk:
    """Return the chunk that a journal's record holds."""
    actions = np.frombuffer(event.actions, "<f4").reshape(event.rows, event.columns)
    return Chunk(
        actions=actions,
        t_obs_ns=event.t_obs_ns,
        inference_s=event.inference_s,
        control_period_s=event.control_period_s,
        sequence=event.sequence,
        generation=event.generation,
    )
