"""The ledger: what became of every action of every chunk, told from the events alone.

The live panel and the report count with this one class, so that they cannot disagree.
"""

from __future__ import annotations

from collections import deque

from dvla.runtime.events import (
    ActionInForce,
    ChunkDiscarded,
    ChunkMerged,
    Event,
    InferenceStarted,
    SchedulerStateChanged,
)

NOT_CHUNKS = frozenset({"duplicate"})
"""Discards that are not another inference's chunk."""
ENDING_STATES = frozenset({"hold", "stopping", "stopped"})
"""Scheduler states that take the actions to come away."""


class ChunkRecord:
    """One chunk: when it was seen, thought, taken over, and which of its actions came into force.

    Attributes:
        reason: why it was discarded; empty for a merged chunk.
        executed: (index, t_ns) of every action that came into force, in order.
        overridden: actions that a newer observation's chunk took over.
        cleared: actions that a hold or a new generation took away.
        closed: nothing more can come of it.
    """

    __slots__ = (
        "actions", "arrived_ns", "cleared", "closed", "executed", "first_action", "generation",
        "inference_s", "overridden", "reason", "seam", "sequence", "started_ns", "t_obs_ns",
        "tau_ns",
    )  # fmt: skip

    def __init__(self, sequence: int, generation: int, t_obs_ns: int, started_ns: int) -> None:
        self.sequence = sequence
        self.generation = generation
        self.t_obs_ns = t_obs_ns
        self.started_ns = started_ns
        self.arrived_ns: int | None = None
        self.inference_s: float | None = None
        self.tau_ns: int | None = None
        self.first_action = 0
        self.actions = 0
        self.seam: tuple[float, float, float, float] | None = None
        self.reason = ""
        self.executed: list[tuple[int, int]] = []
        self.overridden = 0
        self.cleared = 0
        self.closed = False

    @property
    def remaining(self) -> int:
        """Actions whose fate is open."""
        if self.tau_ns is None:
            return 0
        return max(
            0,
            self.actions - self.first_action - len(self.executed) - self.overridden - self.cleared,
        )


class ChunkLedger:
    """Follow every chunk from its inference to its last action.

    Args:
        chunk_size: H; the actions of a wholly stale chunk, whose event does not carry them.
        keep: records that are kept; older ones leave only their counts.
    """

    def __init__(self, chunk_size: int, keep: int | None = None) -> None:
        self._chunk_size = chunk_size
        self._by_sequence: dict[int, ChunkRecord] = {}
        self._open: list[ChunkRecord] = []
        self._keep = keep
        self._order: deque[ChunkRecord] = deque()
        self.inferences = 0
        self.chunks = 0
        self.merged = 0
        self.discarded: dict[str, int] = {}
        self.executed = 0
        self.stale = 0
        self.overridden = 0
        self.cleared = 0

    @property
    def records(self) -> list[ChunkRecord]:
        """The kept chunks, oldest inference first."""
        return list(self._order)

    @property
    def pending(self) -> int:
        """Actions of merged chunks that are still to come, or that the run's end cut off."""
        return sum(record.remaining for record in self._open)

    def add(self, event: Event) -> ChunkRecord | None:
        """Take an event; return the chunk that it completes, by merging or discarding it."""
        match event:
            case InferenceStarted():
                self.inferences += 1
                self._record(event.sequence, event.generation, event.t_obs_ns, event.t_ns)
            case ChunkMerged():
                return self._merge(event)
            case ChunkDiscarded():
                return self._discard(event)
            case ActionInForce():
                self._execute(event)
            case SchedulerStateChanged() if event.state in ENDING_STATES:
                self._clear_open()
        return None

    def _record(self, sequence: int, generation: int, t_obs_ns: int, t_ns: int) -> ChunkRecord:
        record = ChunkRecord(sequence, generation, t_obs_ns, t_ns)
        self._by_sequence[sequence] = record
        self._order.append(record)
        if self._keep is not None and len(self._order) > self._keep:
            gone = self._order.popleft()
            if self._by_sequence.get(gone.sequence) is gone:
                del self._by_sequence[gone.sequence]
        return record

    def _find(self, sequence: int, generation: int, t_obs_ns: int, t_ns: int) -> ChunkRecord:
        """Return the chunk's record; one whose start was never told begins with what is known."""
        record = self._by_sequence.get(sequence)
        if record is None:
            record = self._record(sequence, generation, t_obs_ns, t_ns)
        return record

    def _merge(self, event: ChunkMerged) -> ChunkRecord:
        started_ns = max(event.t_obs_ns, event.t_ns - int(event.inference_s * 1e9))
        record = self._find(event.sequence, event.generation, event.t_obs_ns, started_ns)
        record.inference_s = event.inference_s
        record.arrived_ns = record.started_ns + int(event.inference_s * 1e9)
        record.tau_ns = event.tau_ns
        record.first_action = event.first_action
        record.actions = event.actions
        record.seam = (event.seam_m, event.seam_rad, event.in_chunk_m, event.in_chunk_rad)
        self.chunks += 1
        self.merged += 1
        self.stale += event.first_action
        self._open.append(record)
        return record

    def _discard(self, event: ChunkDiscarded) -> ChunkRecord | None:
        self.discarded[event.reason] = self.discarded.get(event.reason, 0) + 1
        if event.reason in NOT_CHUNKS:
            return None
        self.chunks += 1
        record = self._find(event.sequence, event.generation, event.t_obs_ns, event.t_ns)
        record.reason = event.reason
        record.arrived_ns = event.t_ns
        record.inference_s = (event.t_ns - record.started_ns) / 1e9
        record.actions = self._chunk_size
        record.closed = True
        if event.reason == "stale":
            record.first_action = self._chunk_size
            self.stale += self._chunk_size
        return record

    def _execute(self, event: ActionInForce) -> None:
        self.executed += 1
        record = self._by_sequence.get(event.sequence)
        if record is None:
            return
        record.executed.append((event.index, event.t_ns))
        for older in [open_ for open_ in self._open if open_ is not record]:
            # A chunk with a newer observation has supplied an action: older ones never will again.
            if older.t_obs_ns <= record.t_obs_ns:
                self._close(older, overridden=older.generation == record.generation)
        if record.tau_ns is not None and not record.remaining:
            self._close(record, overridden=True)

    def _clear_open(self) -> None:
        for record in list(self._open):
            self._close(record, overridden=False)

    def _close(self, record: ChunkRecord, *, overridden: bool) -> None:
        if overridden:
            self.overridden += record.remaining
            record.overridden += record.remaining
        else:
            self.cleared += record.remaining
            record.cleared += record.remaining
        record.closed = True
        if record in self._open:
            self._open.remove(record)
