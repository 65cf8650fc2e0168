"""A policy of given latency in a closed loop with a scheduler, under virtual time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from scheduler_scenario import PERIOD_NS, Log, chunk_for

from dvla.runtime.config import SchedulerConfig
from dvla.runtime.events import ActionInForce, ChunkMerged, SchedulerStateChanged
from dvla.runtime.scheduler import Scheduler
from dvla.runtime.scheduler_state import Ticket

START_NS = 1_000_000_000
MS = 1_000_000


class ClosedLoop:
    """Observes every 40 ms, infers whenever the scheduler wants to, advances every millisecond.

    Args:
        config: the switches.
        latency_ms: by number of the inference; None loses the chunk.
        chunk_size: actions per chunk.
        max_age_ms: oldest observation that may move the arm.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        latency_ms: Callable[[int], int | None],
        chunk_size: int = 20,
        max_age_ms: int | None = None,
    ) -> None:
        self.log = Log()
        self.scheduler = Scheduler(
            config,
            chunk_size=chunk_size,
            control_period_ns=PERIOD_NS,
            sink=self.log,
            reach_m=math.inf,  # positions tell which action it is
            max_observation_age_ns=None if max_age_ms is None else max_age_ms * MS,
        )
        self.now_ns = START_NS
        self._latency_ms = latency_ms
        self._chunk_size = chunk_size
        self._flight: tuple[Ticket, int, bool] | None = None

    def run(self, duration_ms: int) -> ClosedLoop:
        """Let time pass."""
        for _ in range(duration_ms):
            self._deliver()
            self.scheduler.advance(self.now_ns)
            if self.scheduler.wants_inference(self.now_ns):
                self._start()
            self.now_ns += MS
        return self

    def events(self, kind: type[Any]) -> list[Any]:
        """Return the events of one kind."""
        return [event for event in self.log.events if isinstance(event, kind)]

    def indices(self) -> list[int]:
        """Return the indices that came into force, in order."""
        return [event.index for event in self.events(ActionInForce)]

    def merges(self) -> list[ChunkMerged]:
        """Return the merges, in order."""
        return self.events(ChunkMerged)

    def states(self) -> list[str]:
        """Return the states that were entered, in order."""
        return [event.state for event in self.events(SchedulerStateChanged)]

    def _start(self) -> None:
        t_obs_ns = self.now_ns - self.now_ns % PERIOD_NS
        ticket = self.scheduler.begin_inference(self.now_ns, t_obs_ns)
        latency_ms = self._latency_ms(ticket.sequence)
        # The engine is busy for as long as it takes to find out that a result is lost.
        busy_ms = 200 if latency_ms is None else latency_ms
        self._flight = (ticket, self.now_ns + busy_ms * MS, latency_ms is None)

    def _deliver(self) -> None:
        if self._flight is None or self.now_ns < self._flight[1]:
            return
        ticket, _, lost = self._flight
        self._flight = None
        if lost:
            self.scheduler.abandon(ticket, self.now_ns)
        else:
            self.scheduler.on_chunk(chunk_for(ticket, self._chunk_size), self.now_ns)
