"""Plain twin of dvla.bindings.action_stream, byte for byte on the same memfd.

Without atomics it is no double buffer between processes; in one thread it reads what the compiled
one writes and the reverse, and it can die at a chosen point of a publication.
"""

from __future__ import annotations

import mmap
import struct
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

CAPACITY = 128
HEADER_BYTES = 64
ROW_WORDS = 11
SLOT_BYTES = 16 + 8 * (6 + ROW_WORDS * CAPACITY)
NEWEST_AT = 32

Crash = Literal["opened", "half written", "written", "closed"]


class TwinTimeline(NamedTuple):
    """A timeline as published."""

    sequence: int
    start_ns: int
    end_ns: int
    generation: int
    hold: bool
    t_ns: NDArray[np.int64]
    setpoints: NDArray[np.float64]
    chunk_ids: NDArray[np.int64]
    t_obs_ns: NDArray[np.int64]

    def status(self, now_ns: int) -> str:
        """Say what this timeline is at an instant."""
        if self.hold:
            return "HOLD"
        if now_ns < self.start_ns:
            return "BEFORE"
        return "ACTIVE" if now_ns < self.end_ns else "UNDERRUN"


class StreamTwin:
    """One end of the stream, over the descriptor of a compiled one."""

    def __init__(self, fd: int) -> None:
        self.memory = mmap.mmap(fd, HEADER_BYTES + 3 * SLOT_BYTES)
        self.held: TwinTimeline | None = None

    def _word(self, at: int) -> int:
        return int(struct.unpack_from("<Q", self.memory, at)[0])

    def publish(self, timeline: TwinTimeline, crash: Crash | None = None) -> int:
        """Publish; with ``crash`` stop after that stage, as a killed writer does."""
        sequence = self._word(NEWEST_AT) + 1
        at = HEADER_BYTES + sequence % 3 * SLOT_BYTES
        struct.pack_into("<Q", self.memory, at, sequence)
        if crash == "opened":
            return sequence
        rows = np.empty((len(timeline.t_ns), ROW_WORDS), np.int64)
        rows[:, 0] = timeline.t_ns
        rows[:, 1:9] = timeline.setpoints.view(np.int64)
        rows[:, 9] = timeline.chunk_ids
        rows[:, 10] = timeline.t_obs_ns
        fixed = struct.pack(
            "<Q5q", sequence, timeline.start_ns, timeline.end_ns, timeline.generation,
            timeline.hold, len(rows),
        )  # fmt: skip
        payload = fixed + rows.tobytes()
        if crash == "half written":
            payload = payload[: len(payload) // 2]
        self.memory[at + 16 : at + 16 + len(payload)] = payload
        if crash in ("half written", "written"):
            return sequence
        struct.pack_into("<Q", self.memory, at + 8, sequence)
        if crash != "closed":
            struct.pack_into("<Q", self.memory, NEWEST_AT, sequence)
        return sequence

    def refresh(self) -> int:
        """Take the newest complete timeline; return the sequence held."""
        newest = self._word(NEWEST_AT)
        at = HEADER_BYTES + newest % 3 * SLOT_BYTES
        if newest and self._word(at) == self._word(at + 8) == newest:
            self.held = self._decode(at + 16)
        return self.held.sequence if self.held else 0

    def _decode(self, at: int) -> TwinTimeline:
        sequence, start, end, generation, hold, count = struct.unpack_from("<Q5q", self.memory, at)
        rows = np.frombuffer(self.memory, np.int64, count * ROW_WORDS, at + 48)
        rows = rows.reshape(count, ROW_WORDS).copy()
        return TwinTimeline(
            sequence, start, end, generation, bool(hold), rows[:, 0],
            np.ascontiguousarray(rows[:, 1:9]).view(np.float64), rows[:, 9], rows[:, 10],
        )  # fmt: skip
