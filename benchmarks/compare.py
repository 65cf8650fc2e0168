"""Two reports against each other, or two subjects in alternation; the verdict respects noise."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import msgspec

from dvla.benchmarks.report.schema import BenchReport
from dvla.benchmarks.report.statistics import Comparison, compare_samples, comparison_text
from dvla.benchmarks.report.text import wrong_actions
from dvla.engines.errors import UsageError

SEPARATE_RUNS = (
    "The reports are of separate runs: the intervals hold the noise within each run, and not what "
    "changed on the machine between them."
)
Series = dict[tuple[str, str], tuple[float, ...]]
"""Durations by (subject, quantity)."""


class ComparisonReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of a comparison of ``a`` and ``b``; a speed-up is that of ``b`` over ``a``.

    Attributes:
        a / b: names of the reports, or of the subjects.
        comparisons: of everything that both have.
        notes: what limits them.
    """

    a: str
    b: str
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]


def compare_reports(a: tuple[str, BenchReport], b: tuple[str, BenchReport]) -> ComparisonReport:
    """Compare everything that two reports both measured.

    Args:
        a: name and report; b: the same of the other.

    Raises:
        UsageError: they have nothing in common, or computed different things.
    """
    (name_a, report_a), (name_b, report_b) = a, b
    _require_same_fixture(report_a, report_b)
    series_a, series_b = _matched(series_of(report_a), series_of(report_b))
    comparisons = tuple(
        compare_samples(
            (f"{key[0]} of {name_b}", series_b[key]),
            (f"{key[0]} of {name_a}", series_a[key]),
            key[1],
            paired=False,
        )
        for key in series_a
        if key in series_b
    )
    if not comparisons:
        raise UsageError(
            "The reports have nothing in common",
            got=f"{name_a} has {_names(series_a)}; {name_b} has {_names(series_b)}",
            next_command="measure the same command twice, once for each report",
        )
    return ComparisonReport(
        a=name_a,
        b=name_b,
        comparisons=comparisons,
        notes=(SEPARATE_RUNS, *_differences(report_a, report_b)),
    )


def compare_subjects_of(report: BenchReport, a: str, b: str) -> ComparisonReport:
    """Compare two subjects that one report measured in alternation.

    Raises:
        UsageError: the report does not have both.
    """
    series = series_of(report)
    parts = [quantity for name, quantity in series if name == a and (b, quantity) in series]
    if not parts:
        raise UsageError(f"The report does not have both {a} and {b}", got=_names(series))
    return ComparisonReport(
        a=a,
        b=b,
        comparisons=tuple(
            compare_samples((b, series[b, part]), (a, series[a, part]), part, paired=True)
            for part in parts
        ),
        notes=(
            *((report.activity.text,) if report.activity.busy else ()),
            *(wrong_actions(report.latency) if report.latency else ()),
        ),
    )


def series_of(report: BenchReport) -> Series:
    """Return every series of durations that a report holds."""
    return dict(chain(_latency_series(report), _servo_series(report), _stream_series(report)))


def comparison_lines(found: ComparisonReport) -> list[str]:
    """Return a comparison for people."""
    return [*(comparison_text(each) for each in found.comparisons), "", *found.notes]


def _latency_series(report: BenchReport) -> Iterator[tuple[tuple[str, str], tuple[float, ...]]]:
    for subject in report.latency.subjects if report.latency else ():
        for part, timing in subject.timings.items():
            yield (subject.name, part), timing.samples_s


def _servo_series(report: BenchReport) -> Iterator[tuple[tuple[str, str], tuple[float, ...]]]:
    for loop in report.servo.loops if report.servo else ():
        cell = f"p99 of waking at {loop.rate_hz} Hz, {loop.load}"
        yield (loop.loop, cell), loop.segment_wake_p99_us


def _stream_series(report: BenchReport) -> Iterator[tuple[tuple[str, str], tuple[float, ...]]]:
    for cost in report.stream.costs if report.stream else ():
        yield (cost.channel, cost.operation), cost.samples_us


def _matched(a: Series, b: Series) -> tuple[Series, Series]:
    """Give the only subject of each side one name, where their own names differ.

    So a report of one backend can be compared with a report of another.
    """
    only_a, only_b = ({name for name, _ in series} for series in (a, b))
    if len(only_a) == len(only_b) == 1 and only_a != only_b:
        joined = f"{only_a.pop()} / {only_b.pop()}"
        return (
            {(joined, quantity): values for (_, quantity), values in a.items()},
            {(joined, quantity): values for (_, quantity), values in b.items()},
        )
    return a, b


def _require_same_fixture(a: BenchReport, b: BenchReport) -> None:
    """Raise a UsageError when the reports' inferences were of other weights, inputs or steps."""
    if a.fixture is None or b.fixture is None:
        return
    for what in ("weights_sha256", "inputs_sha256", "num_steps"):
        ours, theirs = getattr(a.fixture, what), getattr(b.fixture, what)
        if ours and theirs and ours != theirs:
            raise UsageError(
                f"The reports computed different things: {what} differs",
                got=f"{a.fixture.name} {str(ours)[:16]} and {b.fixture.name} {str(theirs)[:16]}",
                next_command="measure the same bundle, or the same --synthetic, for both",
            )


def _differences(a: BenchReport, b: BenchReport) -> Iterator[str]:
    """Yield what else may have made a difference."""
    machine_a, machine_b = a.machine.base, b.machine.base
    if (machine_a.cpu, machine_a.cores) != (machine_b.cpu, machine_b.cores):
        yield (
            f"The machines differ: {machine_a.cpu} with {machine_a.cores} cores, and "
            f"{machine_b.cpu} with {machine_b.cores} cores."
        )
    versions_a = machine_a.libraries | a.machine.libraries
    versions_b = machine_b.libraries | b.machine.libraries
    changed = [
        f"{name} {versions_a.get(name, 'absent')} and {versions_b.get(name, 'absent')}"
        for name in sorted(versions_a.keys() | versions_b.keys())
        if versions_a.get(name) != versions_b.get(name)
    ]
    if changed:
        yield f"Libraries differ: {', '.join(changed)}."
    yield from _other_work(a, b)
    for report in (a, b):
        if report.activity.busy:
            yield f"{report.started_utc}: {report.activity.text}"


def _other_work(a: BenchReport, b: BenchReport) -> Iterator[str]:
    """Yield in what the inferences themselves may have differed."""
    if a.fixture and b.fixture and bool(a.fixture.num_steps) != bool(b.fixture.num_steps):
        yield "Only one of the reports says how many Euler steps a chunk took."
    threads = [_threads(report) for report in (a, b)]
    if all(threads) and threads[0] != threads[1]:
        yield f"The threads of an inference differ: {threads[0]} and {threads[1]}."
    for report in (a, b):
        if report.latency is not None:
            for told in wrong_actions(report.latency):
                yield f"{report.started_utc}: {told}"


def _threads(report: BenchReport) -> str:
    """Return the threads of a report's inferences; nothing where it has none."""
    subjects = report.latency.subjects if report.latency else ()
    return ", ".join(map(str, sorted({subject.threads for subject in subjects})))


def _names(series: Series) -> str:
    return ", ".join(dict.fromkeys(name for name, _ in series)) or "nothing"
