"""A report as lines of text, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from dvla.benchmarks.report.schema import (
    END_TO_END,
    PARTS,
    BenchReport,
    LatencyResult,
    ServoResult,
    StreamResult,
    SubjectResult,
)
from dvla.benchmarks.report.statistics import comparison_text
from dvla.runtime.percentiles import Percentiles

SAME_ACTIONS = 1e-2
"""max|a - b| / max|b| up to which two subjects count as computing the same."""


def report_text(report: BenchReport) -> str:
    """Return a report for people."""
    machine = report.machine.base
    lines = [
        f"{machine.cpu}, {machine.cores} cores, {' '.join(report.machine.flags) or 'no flags'}",
        report.activity.text,
    ]
    if report.fixture is not None:
        lines.append(
            f"{report.fixture.name}: weights {report.fixture.weights_sha256[:16]}, inputs "
            f"{report.fixture.inputs_sha256[:16]}, {report.fixture.tokens} tokens"
        )
    if report.latency is not None:
        lines += ["", *latency_lines(report.latency)]
    if report.servo is not None:
        lines += ["", *servo_lines(report.servo)]
    if report.stream is not None:
        lines += ["", *stream_lines(report.stream)]
    return "\n".join(lines)


def latency_lines(result: LatencyResult) -> Iterator[str]:
    """Return the latency, part by part, of every subject."""
    yield (
        f"Latency, batch 1, {result.rounds} rounds in alternation after "
        f"{result.warm_up_rounds} of warm-up [ms]"
    )
    yield f"{'':14s}{'part':18s}{_HEADINGS}   GFLOP/s"
    for subject in result.subjects:
        for part in PARTS:
            if part in subject.timings:
                spread = _row(subject.timings[part].spread_s, 1e3)
                yield f"{subject.name:14s}{part:18s}{spread}{_gflops(subject, part)}"
    for subject in result.subjects:
        yield (
            f"{subject.name}: replan_hz {subject.replan_hz:.2f}, action_hz "
            f"{subject.action_hz:.1f}, {subject.threads} threads; {subject.description}"
        )
        if subject.action_error is not None:
            yield f"{subject.name}: relative error of the actions {subject.action_error:.1e}"
        for cold in subject.cold_starts[:1]:
            worst_s = max(each.first_chunk_s for each in subject.cold_starts)
            yield (
                f"{subject.name}: process start to first chunk {worst_s:.2f} s (slowest of "
                f"{len(subject.cold_starts)}), resident {cold.resident_bytes / 1e6:.0f} MB, of "
                f"which {cold.anonymous_bytes / 1e6:.0f} MB are no mapped file"
            )
    for found in result.comparisons:
        yield comparison_text(found)
    yield from wrong_actions(result)


def wrong_actions(result: LatencyResult) -> Iterator[str]:
    """Yield which subjects' actions are not those of the one that they are held against."""
    held_against = next((s for s in result.subjects if s.is_peer), *result.subjects[:1])
    for subject in result.subjects:
        error = subject.action_error
        if error is not None and not error <= SAME_ACTIONS:
            yield (
                f"NOT THE SAME ACTIONS: those of {subject.name} differ from those of "
                f"{held_against.name} by {error:.1e} of the largest, more than {SAME_ACTIONS:.0e}: "
                "a speed-up is not one of the same work."
            )


def servo_lines(result: ServoResult) -> Iterator[str]:
    """Return lateness and overruns of every loop."""
    yield f"Servo loops, {result.segments} segments of {result.segment_s:g} s each, alternating"
    yield f"{'loop':9s}{'rate':>8s}  {'load':8s}{'wake':>35s} [us]{'dispatch p99':>14s}  overruns"
    for loop in result.loops:
        yield (
            f"{loop.loop:9s}{loop.rate_hz:5d} Hz  {loop.load:8s}{_row(loop.wake_us, 1)}"
            f"{loop.dispatch_us.p99:14.1f}{loop.overruns:6d} of {loop.ticks + loop.overruns}"
        )
    for found in result.comparisons:
        yield comparison_text(found)


def stream_lines(result: StreamResult) -> Iterator[str]:
    """Return cost and allocations of every channel."""
    yield f"Streams, {result.knots} knots, {result.rounds} batches of {result.batch_calls} calls"
    yield f"{'channel':26s}{'operation':10s}{_HEADINGS} [us]   bytes held"
    for cost in result.costs:
        spread = _row(cost.spread_us, 1)
        yield f"{cost.channel:26s}{cost.operation:10s}{spread}{cost.peak_bytes:18d}"
    for found in result.comparisons:
        yield comparison_text(found)


_HEADINGS = "".join(f"{name:>9s}" for name in ("p50", "p95", "p99", "max"))


def _row(value: Percentiles, factor: float) -> str:
    return "".join(
        f"{factor * number:9.2f}" for number in (value.p50, value.p95, value.p99, value.max)
    )


def _gflops(subject: SubjectResult, part: str) -> str:
    """Return the rate at which a part computes, at its median."""
    if part not in subject.work:
        return ""
    rate = subject.work[part].flops / subject.timings[part].spread_s.p50 / 1e9
    return f"{rate:10.1f}" + (" (peer)" if subject.is_peer and part == END_TO_END else "")
