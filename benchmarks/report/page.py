"""The page of one report or several: self-contained, made from the JSON alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from dvla.benchmarks.report import plots, tables
from dvla.benchmarks.report.html import cards, document, section, two
from dvla.benchmarks.report.schema import END_TO_END, BenchReport, SubjectResult
from dvla.benchmarks.report.statistics import Comparison, comparison_text


def page_html(reports: Sequence[BenchReport]) -> str:
    """Return the page of some reports; it loads nothing from anywhere."""
    body = "".join("".join(_report(report)) for report in reports)
    footer = (
        "<footer>Made by dvla-bench from its JSON report; dvla-bench report rebuilds it.</footer>"
    )
    return document("dvla-bench", body + footer)


def _report(report: BenchReport) -> Iterator[str]:
    yield _header(report)
    kind = "problems" if report.activity.busy else "fine"
    yield f'<section class="{kind}">{escape(report.activity.text)}</section>'
    yield _cards(report)
    if report.latency is not None:
        bars = plots.part_bars(report.latency, report.device)
        roof = plots.roofline(report.latency, report.device) if report.device else ""
        rounds = plots.rounds_plot(report.latency), plots.distribution(report.latency)
        content = two(bars, roof) + tables.latency_table(report.latency)
        yield section("Latency at batch 1", content + _verdicts(report.latency.comparisons))
        if report.device is not None:
            yield section(
                "The floor of this device", tables.floor_table(report.latency, report.device)
            )
        yield section("Rounds", two(*rounds))
        yield section("What ran", tables.subject_table(report.latency))
    if report.servo is not None:
        content = plots.servo_bars(report.servo) + tables.servo_table(report.servo)
        yield section("Servo loop", content + _verdicts(report.servo.comparisons))
    if report.stream is not None:
        content = two(plots.stream_bars(report.stream), tables.stream_table(report.stream))
        yield section("Stream", content + _verdicts(report.stream.comparisons))
    yield section("Machine, fixture and command", tables.context_table(report))


def _header(report: BenchReport) -> str:
    facts = {
        "machine": f"{report.machine.base.cpu}, {report.machine.base.cores} cores",
        "measured": report.started_utc,
        "fixture": report.fixture.name if report.fixture else "none needed",
        "version": report.dvla_version,
    }
    told = " · ".join(f"{name} <b>{escape(value)}</b>" for name, value in facts.items())
    return f'<h1>{escape(_title(report))}</h1><p class="meta">{told}</p>'


def _title(report: BenchReport) -> str:
    """Return the finding in one line."""
    found = [
        each
        for each in (report.latency.comparisons if report.latency else ())
        if each.quantity == END_TO_END
    ]
    if found:
        return comparison_text(found[0]).split(" (")[0].split(": ", 1)[1]
    measured = [name for name in ("latency", "servo", "stream") if getattr(report, name)]
    return f"Measured: {', '.join(measured) or 'nothing'}"


def _cards(report: BenchReport) -> str:
    found: list[tuple[str, str, str, str]] = []
    for subject in report.latency.subjects if report.latency else ():
        found += _subject_cards(subject, len(report.latency.subjects if report.latency else ()))
    for loop in report.servo.loops if report.servo else ():
        if loop.loop == "dvla":
            late = f"late p99 {loop.wake_us.p99:.0f} us · max {loop.wake_us.max:.0f} us"
            total = loop.ticks + loop.overruns
            name = f"overruns, {loop.rate_hz} Hz, {loop.load}"
            found.append((name, f"{loop.overruns}", f"of {total}", late))
    return cards(found)


def _subject_cards(subject: SubjectResult, count: int) -> Iterator[tuple[str, str, str, str]]:
    spread = subject.timings[END_TO_END].spread_s
    more = f"p95 {1e3 * spread.p95:.1f} · p99 {1e3 * spread.p99:.1f} · max {1e3 * spread.max:.1f}"
    yield f"{subject.name}, end to end", f"{1e3 * spread.p50:.1f}", "ms p50", more
    yield (
        f"{subject.name}, replan_hz",
        f"{subject.replan_hz:.2f}",
        "chunks/s",
        f"action_hz {subject.action_hz:.1f} ({subject.chunk_size} per chunk)",
    )
    if subject.cold_starts:
        first_s = max(cold.first_chunk_s for cold in subject.cold_starts)
        memory = max(cold.resident_bytes for cold in subject.cold_starts)
        yield (
            f"{subject.name}, cold start",
            f"{first_s:.2f}",
            "s to first chunk",
            f"slowest of {len(subject.cold_starts)} · resident {memory / 1e6:.0f} MB",
        )


def _verdicts(comparisons: Sequence[Comparison]) -> str:
    items = "".join(f"<li>{escape(comparison_text(each))}</li>" for each in comparisons)
    return f"<h3>Verdicts</h3><ul>{items}</ul>" if items else ""
