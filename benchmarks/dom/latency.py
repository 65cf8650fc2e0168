"""Injected inference latency: inferences that end when the virtual clock says so."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import msgspec
import numpy as np

from dvla.runtime.chunk import Chunk
from dvla.runtime.clock import NS_PER_MS


class Latency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long inferences take: constant, log-normal around a median, or as some that were timed.

    Attributes:
        median_ms: of the inference latency.
        spread: standard deviation of its logarithm; 0 makes it constant.
        samples_ms: latencies to draw from instead, each as often as the others.
        source: where the samples come from, for people.
    """

    median_ms: float = 200.0
    spread: float = 0.0
    samples_ms: tuple[float, ...] = ()
    source: str = ""

    @property
    def text(self) -> str:
        """The latency in a few words."""
        if self.samples_ms:
            return f"{self.median_ms:.0f} ms (median of {len(self.samples_ms)}, {self.source})"
        return f"{self.median_ms:g} ms" + (f", spread {self.spread:g}" if self.spread else "")

    def draw_ns(self, rng: np.random.Generator) -> int:
        """Draw one latency [ns]."""
        if self.samples_ms:
            return round(self.samples_ms[rng.integers(len(self.samples_ms))] * NS_PER_MS)
        factor = float(np.exp(self.spread * rng.standard_normal())) if self.spread else 1.0
        return round(self.median_ms * factor * NS_PER_MS)


class VirtualRunner:
    """Runs an inference at once, and lets its chunk arrive a latency later in virtual time.

    Args:
        latency: how long inferences take.
        seed: makes the same latencies again.
    """

    def __init__(self, latency: Latency, seed: int) -> None:
        self._latency = latency
        self._rng = np.random.default_rng((seed, 0x1A7))
        self._pending: list[tuple[int, Future[Chunk], Chunk]] = []
        self._now_ns = 0

    def submit(self, work: Callable[[], Chunk]) -> Future[Chunk]:
        """Infer now; the future is done once the clock has passed the latency."""
        future: Future[Chunk] = Future()
        done_ns = self._now_ns + self._latency.draw_ns(self._rng)
        self._pending.append((done_ns, future, work()))
        return future

    def advance(self, now_ns: int) -> None:
        """Let the inferences end whose time has come."""
        self._now_ns = now_ns
        for done_ns, future, chunk in self._pending:
            if done_ns <= now_ns:
                future.set_result(chunk)
        self._pending = [row for row in self._pending if row[0] > now_ns]
