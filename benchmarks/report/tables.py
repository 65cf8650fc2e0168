"""The tables of a benchmark's page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from dvla.benchmarks.report.machine import BenchMachine
from dvla.benchmarks.report.roofline import bytes_read, part_floors
from dvla.benchmarks.report.schema import (
    PARTS,
    BenchReport,
    Device,
    LatencyResult,
    ServoResult,
    StreamResult,
)
from dvla.runtime.percentiles import Percentiles


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """Return a table; its first ``text_columns`` columns are words, the others numbers."""
    head = "".join(
        f"<th{'' if index < text_columns else _NUMBER}>{escape(name)}</th>"
        for index, name in enumerate(headings)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{_cell_class(index, text_columns)}>{escape(cell)}</td>"
            for index, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _cell_class(index: int, text_columns: int) -> str:
    """Return what a cell is: a number, words that wrap (the last ones), or a word."""
    if index >= text_columns:
        return _NUMBER
    return "" if index == text_columns - 1 else ' class="word"'


def latency_table(result: LatencyResult) -> str:
    """Return percentiles and rates of every part."""
    rows = []
    for subject in result.subjects:
        for part in PARTS:
            if part not in subject.timings:
                continue
            spread = subject.timings[part].spread_s
            work = subject.work.get(part)
            rows.append(
                (
                    subject.name + (" (peer)" if subject.is_peer else ""),
                    part,
                    *_spread(spread, 1e3),
                    f"{work.flops / 1e9:.2f}" if work else "–",
                    f"{work.flops / spread.p50 / 1e9:.1f}" if work else "–",
                )
            )
    headings = ("subject", "part", *_PERCENTILES, "GFLOP", "GFLOP/s")
    note = (
        f'<p class="hint">{result.rounds} rounds in alternation after {result.warm_up_rounds} of '
        "warm-up; durations in ms. Every subject runs once per round, in an order that reverses "
        "from round to round.</p>"
    )
    return table(headings, rows, 2) + note


def floor_table(result: LatencyResult, device: Device) -> str:
    """Return what each part takes at best, and what it is bound by."""
    work = {(s.name, part): w for s in result.subjects for part, w in s.work.items()}
    rows = [
        (
            floor.subject,
            floor.part,
            floor.bound,
            f"{1e3 * floor.measured_s:.2f}",
            f"{1e3 * floor.floor_s:.2f}",
            f"{100 * floor.floor_share:.0f} %",
            f"{1e3 * floor.compute_s:.2f}",
            f"{1e3 * floor.memory_s:.2f}",
            f"{bytes_read(work[floor.subject, floor.part], device) / 1e6:.1f}",
            work[floor.subject, floor.part].counted_from,
        )
        for floor in part_floors(result, device)
    ]
    rates = ", ".join(
        f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in device.flops_per_s.items()
    )
    headings = (
        "subject", "part", "bound by", "measured [ms]", "floor [ms]", "floor / measured",
        "arithmetic [ms]", "weights [ms]", "weights read [MB]", "counted from",
    )  # fmt: skip
    note = (
        f'<p class="hint">Measured with {device.threads} threads: '
        f"{device.bandwidth_bytes_per_s / 1e9:.1f} GB/s read from memory; matrix products "
        f"{rates}; last-level cache {device.cache_bytes / 2**20:.0f} MiB. The floor of a part is "
        "the larger of its arithmetic and of reading its weights; activations are not in it. "
        "Overhead: the part takes more than twice its floor.</p>"
    )
    return table(headings, rows, 3) + note


def subject_table(result: LatencyResult) -> str:
    """Return what each subject is, and its cold starts."""
    rows = []
    for subject in result.subjects:
        error = "–" if subject.action_error is None else f"{subject.action_error:.1e}"
        starts = " · ".join(f"{cold.first_chunk_s:.2f}" for cold in subject.cold_starts)
        loads = " · ".join(f"{c.loaded_s:.2f}" for c in subject.cold_starts)
        memory = " · ".join(f"{c.resident_bytes / 1e6:.0f}" for c in subject.cold_starts)
        own = " · ".join(f"{c.anonymous_bytes / 1e6:.0f}" for c in subject.cold_starts)
        cells = (subject.name, subject.description, str(subject.threads), error)
        rows.append((*cells, starts or "–", loads or "–", memory or "–", own or "–"))
    headings = (
        "subject", "what it is", "threads", "relative error of actions", "first chunk [s]",
        "loaded [s]", "resident [MB]", "not a mapped file [MB]",
    )  # fmt: skip
    note = (
        '<p class="hint">First chunk and load are since the start of a fresh process, load with '
        "warm-up; files may have been in the page cache. Errors are max|a - b| / max|b| of the "
        "same inference, against the peer.</p>"
    )
    return table(headings, rows, 2) + note


def servo_table(result: ServoResult) -> str:
    """Return lateness, jitter and overruns of every loop."""
    rows = [
        (
            loop.loop,
            f"{loop.rate_hz} Hz",
            loop.load,
            loop.setup,
            f"{loop.ticks}",
            f"{loop.overruns}",
            *_spread(loop.wake_us, 1, 1),
            f"{loop.dispatch_us.p99:.1f}",
            f"{loop.jitter_us.p99:.1f}",
            f"{loop.busy_us.p99:.1f}" if loop.busy_us else "–",
        )
        for loop in result.loops
    ]
    headings = (
        "loop", "rate", "load", "scheduling", "ticks", "overruns",
        *(f"wake {name}" for name in _PERCENTILES), "dispatch p99", "jitter p99", "busy p99",
    )  # fmt: skip
    note = (
        f'<p class="hint">Times in us. {result.segments} segments of {result.segment_s:g} s per '
        f"loop, rate and load, in alternation. Load: {escape(result.load_description)}. The bare "
        "loop sleeps and does nothing else; dispatch includes planning and encoding a "
        "command.</p>"
    )
    return table(headings, rows, 4) + note


def stream_table(result: StreamResult) -> str:
    """Return cost and memory of every operation."""
    rows = [
        (
            cost.channel,
            cost.operation,
            *_spread(cost.spread_us, 1),
            f"{cost.peak_bytes}",
            f"{cost.kept_bytes:.0f}",
        )
        for cost in result.costs
    ]
    headings = ("channel", "operation", *_PERCENTILES, "bytes held", "bytes left")
    note = (
        f'<p class="hint">Microseconds per call, means over batches of {result.batch_calls}, '
        f"{result.rounds} batches in alternation; {result.knots} knots. Only the action stream "
        "crosses processes without a third one, interpolates, and takes no lock.</p>"
    )
    return table(headings, rows, 2) + note


def context_table(report: BenchReport) -> str:
    """Return machine, fixture and command."""
    facts = [("command", report.command), *_machine_facts(report.machine)]
    if report.fixture is not None:
        fixture = report.fixture
        facts += [
            ("fixture", fixture.name),
            ("weights", f"sha256 {fixture.weights_sha256}"),
            ("inputs", f"sha256 {fixture.inputs_sha256}, {fixture.tokens} tokens"),
            ("bundle", f"{fixture.bundle_bytes / 1e6:.1f} MB, {_pairs(fixture.precision)}"),
        ]
    rows = "".join(
        f'<tr><td class="key">{escape(name)}</td><td>{escape(value)}</td></tr>'
        for name, value in facts
    )
    return f"<table>{rows}</table>"


def _machine_facts(machine: BenchMachine) -> list[tuple[str, str]]:
    base = machine.base
    limit = "none" if machine.cpu_limit_cores is None else f"{machine.cpu_limit_cores:g} cores"
    memory = machine.memory_limit_bytes
    gpus = "; ".join(
        f"{gpu.name}, driver {gpu.driver}, {gpu.memory}, {gpu.sm_clock}, {gpu.power_limit}"
        for gpu in machine.gpus
    )
    return [
        ("cpu", f"{base.cpu}, {base.cores} cores, governor {base.governor}"),
        ("instruction sets", " ".join(machine.flags) or "none of note"),
        ("memory", f"{base.memory_bytes / 2**30:.1f} GiB"),
        ("power mode", machine.power_mode),
        *([("board", machine.board)] if machine.board else []),
        *((f"clock of {name} [Hz]", text) for name, text in machine.soc_clocks.items()),
        *([("tegrastats", machine.tegrastats)] if machine.tegrastats else []),
        ("gpu", gpus or "none"),
        (
            "container limits",
            f"cpu {limit}, memory {'none' if memory is None else f'{memory / 2**30:.1f} GiB'}",
        ),
        ("system", f"{base.kernel}, {base.architecture}, Python {base.python}"),
        ("libraries", _pairs(base.libraries | machine.libraries)),
    ]


_PERCENTILES = ("p50", "p95", "p99", "max")
_NUMBER = ' class="num"'


def _spread(value: Percentiles, factor: float, digits: int = 2) -> tuple[str, ...]:
    values = (value.p50, value.p95, value.p99, value.max)
    return tuple(f"{factor * number:.{digits}f}" for number in values)


def _pairs(items: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in items.items()) or "–"
