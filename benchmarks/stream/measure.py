"""The stream benchmark: what a call costs and holds, channel by channel, in alternation."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Sequence

from dvla.benchmarks.latency.alternation import alternate
from dvla.benchmarks.report.schema import ChannelCost, StreamResult
from dvla.benchmarks.report.statistics import compare_samples
from dvla.benchmarks.stream.channels import (
    KNOTS,
    Channel,
    DequeChannel,
    ManagerChannel,
    StreamChannel,
)
from dvla.runtime.percentiles import percentiles

PUBLISH, SAMPLE = "publish", "sample"
OPERATIONS = (PUBLISH, SAMPLE)
_WARM_UP_ROUNDS = 2
_ALLOCATION_CALLS = 50


class _Batch:
    """A channel as a subject: one batch of publications, then as many samples."""

    def __init__(self, channel: Channel, calls: int) -> None:
        self.name = channel.name
        self._channel = channel
        self._calls = calls

    def run(self) -> dict[str, float]:
        """Return seconds per call, by operation."""
        return {
            PUBLISH: _seconds_per_call(self._channel.publish, self._calls),
            SAMPLE: _seconds_per_call(self._channel.sample, self._calls),
        }


def measure_stream(rounds: int, batch_calls: int, say: Callable[[str], None]) -> StreamResult:
    """Measure all channels, one batch of each per round."""
    channels: list[Channel] = [StreamChannel(), DequeChannel()]
    try:
        channels.append(ManagerChannel())
        say(f"stream: {rounds} rounds of {batch_calls} calls ...")
        batches = [_Batch(channel, batch_calls) for channel in channels]
        found = alternate(batches, rounds, _WARM_UP_ROUNDS)
        costs = [
            _cost(channel, operation, found.samples_s[channel.name][operation])
            for channel in channels
            for operation in OPERATIONS
        ]
    finally:
        for channel in channels:
            channel.close()
    return StreamResult(
        knots=KNOTS,
        batch_calls=batch_calls,
        rounds=rounds,
        costs=tuple(costs),
        comparisons=tuple(
            compare_samples(
                (ours.channel, ours.samples_us),
                (peer.channel, peer.samples_us),
                ours.operation,
                paired=True,
            )
            for ours in costs[: len(OPERATIONS)]
            for peer in _others(costs, ours)
        ),
    )


def held_bytes(call: Callable[[], object], calls: int) -> tuple[int, float]:
    """Return the Python memory that one call holds at most, and that it leaves on average."""
    call()
    gc.collect()
    tracemalloc.start()
    try:
        call()
        before, _ = tracemalloc.get_traced_memory()
        peak = 0
        for _ in range(calls):
            tracemalloc.reset_peak()
            now, _ = tracemalloc.get_traced_memory()
            call()
            peak = max(peak, tracemalloc.get_traced_memory()[1] - now)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak, max(0.0, (after - before) / calls)


def _cost(channel: Channel, operation: str, samples_s: Sequence[float]) -> ChannelCost:
    if operation == SAMPLE:
        # A queue gives every chunk once: as many must be in it as are taken.
        for _ in range(_ALLOCATION_CALLS + 2):
            channel.publish()
    peak, kept = held_bytes(getattr(channel, operation), _ALLOCATION_CALLS)
    samples_us = tuple(1e6 * value for value in samples_s)
    spread_us = percentiles(samples_us)
    assert spread_us is not None  # there is at least one round
    return ChannelCost(
        channel=channel.name,
        operation=operation,
        samples_us=samples_us,
        spread_us=spread_us,
        peak_bytes=peak,
        kept_bytes=kept,
    )


def _others(costs: Sequence[ChannelCost], ours: ChannelCost) -> list[ChannelCost]:
    return [
        cost for cost in costs if cost.operation == ours.operation and cost.channel != ours.channel
    ]


def _seconds_per_call(call: Callable[[], None], calls: int) -> float:
    started_s = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started_s) / calls
