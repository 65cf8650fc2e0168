"""The measured tables of the servo: its loop, inference beside it, and stalls around it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from dvla.benchmarks.report.markdown import said, table
from dvla.benchmarks.report.schema import BenchReport
from dvla.benchmarks.report.statistics import Comparison
from dvla.benchmarks.servo.beside import BesideReport
from dvla.benchmarks.servo.stalls import StallsReport
from dvla.runtime.percentiles import Percentiles


def servo(results: Path) -> str:
    """Return the table of our loop and the bare one."""
    report = msgspec.json.decode((results / "servo.json").read_bytes(), type=BenchReport)
    assert report.servo is not None  # It is a report of the servo.
    rows = [
        (
            f"{loop.loop}, {loop.rate_hz} Hz, {loop.load}",
            _spread(loop.wake_us, 0),
            _spread(loop.dispatch_us, 0),
            f"{loop.overruns} of {loop.ticks + loop.overruns}",
        )
        for loop in report.servo.loops
    ]
    heads = ("loop", "wake p50, p99, max [us]", "dispatch p50, p99, max [us]", "overruns")
    told = said(report.command, report.machine.base)
    return f"{table(heads, rows)}\n{told}{report.activity.text}\n"


def beside(results: Path) -> str:
    """Return the table of inference with and without servo, gate and inverse kinematics."""
    rows, told = [], ""
    for name in ("beside-tiny-1thread", "beside-tiny"):
        report = msgspec.json.decode((results / f"{name}.json").read_bytes(), type=BesideReport)
        for rate in report.rates:
            ticks = sum(done.ticks for done in rate.control)
            missed = sum(done.overruns for done in rate.control)
            rows.append(
                (
                    f"{report.engine}; servo at {rate.rate_hz} Hz",
                    _spread(rate.alone_ms, 1),
                    _spread(rate.beside_ms, 1),
                    _ratio(rate.comparison),
                    f"{missed} of {ticks + missed}",
                )
            )
        told += said(report.command, report.machine.base)
    heads = (
        "engine", "alone p50, p99, max [ms]", "beside [ms]", "times as fast beside (95 %)",
        "overruns of servo, gate and inverse kinematics in one process",
    )  # fmt: skip
    return f"{table(heads, rows)}\n{told}"


def stalls(results: Path) -> str:
    """Return the table of the servo's lateness while something beside it is stalled."""
    path = results / "stalls.json"
    if not path.is_file():
        return "Not measured yet: `dvla-bench stalls`.\n"
    report = msgspec.json.decode(path.read_bytes(), type=StallsReport)
    rows = []
    for kind in report.kinds:
        ratio = kind.comparison
        times = [1 / value for value in (ratio.speedup, ratio.high, ratio.low)] if ratio else []
        rows.append(
            (
                kind.stalled,
                _spread(kind.lateness_us, 0),
                f"{kind.overruns} of {kind.ticks + kind.overruns}",
                "{:.2f} ({:.2f} to {:.2f})".format(*times) if times else "1",
            )
        )
    heads = (
        "stalled", "servo lateness p50, p99, max [us]", "overruns",
        "median p99 of a stretch, times calm (95 %)",
    )  # fmt: skip
    told = said(report.command, report.machine.base)
    return f"{table(heads, rows)}\n{told}{report.activity.text} Lost: {report.unrecorded}.\n"


def _spread(found: Percentiles, digits: int) -> str:
    values: Iterable[float] = (found.p50, found.p99, found.max)
    return ", ".join(f"{value:.{digits}f}" for value in values)


def _ratio(found: Comparison) -> str:
    return f"{found.speedup:.2f} ({found.low:.2f} to {found.high:.2f})"
