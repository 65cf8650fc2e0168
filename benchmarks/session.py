"""One call of ``dvla-bench``: what every report says besides its measurements."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import tyro

import dvla
from dvla.benchmarks.report.activity import ActivityMeter
from dvla.benchmarks.report.machine import describe_bench_machine
from dvla.benchmarks.report.schema import BenchReport
from dvla.benchmarks.report.store import write_report, write_whole
from dvla.benchmarks.report.text import report_text
from dvla.engines.errors import UsageError
from dvla.runtime.output_path import check_output

Size = Literal["tiny", "full"]
Flag = tyro.conf.FlagCreatePairsOff[bool]
Name = TypeVar("Name", int, str)


def say(line: str) -> None:
    """Print a line of progress where it does not mix with results."""
    print(line, file=sys.stderr, flush=True)


class Session:
    """Makes a report: machine and activity around whatever is measured.

    Args:
        command: that makes the same report again, without paths of this machine.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        self._started_utc = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._machine = describe_bench_machine()
        self._meter = ActivityMeter()

    def restart_meter(self) -> None:
        """Begin to measure the activity again, after preparations that are not measured."""
        self._meter = ActivityMeter()

    def finish(self, report: Callable[[BenchReport], BenchReport]) -> BenchReport:
        """Return the report; ``report`` adds the results."""
        return report(
            BenchReport(
                dvla_version=dvla.__version__,
                command=self._command,
                started_utc=self._started_utc,
                machine=self._machine,
                activity=self._meter.stop(),
            )
        )


def deliver(report: BenchReport, out: Path | None, json: bool) -> None:
    """Write a report and print it: as text, or the whole of it as JSON."""
    if out is not None:
        deliver_files(report, out)
    if json:
        print(msgspec.json.encode(report).decode())
    else:
        print(report_text(report))


def check_out(out: Path | None, *, page: bool = True) -> None:
    """Check, before anything is measured, that the report can be written; its folder is made.

    Args:
        out: what ``--out`` names, if anything.
        page: whether a page is written beside the report.

    Raises:
        UsageError: it cannot be written there.
    """
    for path in _places(out) if out and page else (out,):
        if path is not None:
            with contextlib.suppress(OSError):  # It is told below, with the flag.
                path.parent.mkdir(parents=True, exist_ok=True)
            check_output("--out", path)


def _places(out: Path) -> tuple[Path, Path]:
    """Return where report and page go; whoever names the page gets the report beside it."""
    report = out.with_suffix(".json") if out.suffix == ".html" else out
    return report, out.with_suffix(".html")


def deliver_files(report: BenchReport, out: Path) -> None:
    """Write a report and, beside it, its page."""
    out, page = _places(out)
    write_report(out, report)
    write_page(page, report)
    say(f"report: {out} and {page}")


def write_page(path: Path, *reports: BenchReport) -> None:
    """Write the page of some reports."""
    from dvla.benchmarks.report.page import page_html

    write_whole(path, page_html(reports).encode())


def positive(flag: str, value: float, low: float = 1, high: float = 1e6) -> None:
    """Raise a UsageError unless a flag's value is within its bounds."""
    if not low <= value <= high:
        raise UsageError(
            f"{flag} is out of bounds", got=f"{value:g}", expected=f"{low:g} to {high:g}"
        )


def threads_of(asked: int | None) -> int:
    """Return the threads of every subject: all cores that this process may use, unless asked."""
    cores = len(os.sched_getaffinity(0))
    if asked is not None:
        positive("--threads", asked, 1, 4096)
    return cores if asked is None else asked


def distinct(flag: str, names: tuple[Name, ...], *, required: bool = True) -> tuple[Name, ...]:
    """Return the names; raise a UsageError when one is given twice, or none where one must be."""
    if required and not names:
        raise UsageError(f"{flag} names nothing", expected="at least one")
    if len(set(names)) != len(names):
        raise UsageError(f"{flag} names something twice", got=" ".join(map(str, names)))
    return names
