"""``dvla-report``: rebuild a run's report and print its summary."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import tyro

from dvla.engines.cli_errors import run_main
from dvla.engines.errors import UsageError
from dvla.engines.files import write_atomically
from dvla.runtime.output_path import check_output
from dvla.runtime.panel import wants_plain
from dvla.runtime.run_data import load_run
from dvla.runtime.summary import RunSummary, summarise_data
from dvla.runtime.summary_text import summary_table, summary_text

LOGGER = logging.getLogger("dvla.report")


def report(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")],
    /,
    out: Path = Path("comparison.html"),
    json: bool = False,
    plain: bool = False,
    debug: bool = False,
) -> None:
    """Rebuild summary.json and report.html of run folders and print their summaries.

    Several runs are also compared side by side on one page.

    Args:
        runs: Run folders, such as runs/20260102T030405Z-franka-sim.
        out: Page on which several runs are compared.
        json: Print the summaries as JSON, one per line.
        plain: No colours and no tables.
        debug: Show tracebacks.
    """
    del debug  # read from the command line where the errors are told
    if len(runs) > 1:
        check_output("--out", out)
    for run in runs:
        summary = write_report(run, must_write=True)
        show_summary(summary, json=json, plain=plain)
        if not json:
            print(f"report: {run / 'report.html'}")
    if len(runs) > 1:
        write_comparison(runs, out)
        if not json:
            print(f"comparison: {out}")


def write_report(run: Path, *, must_write: bool = False) -> RunSummary:
    """Write summary.json and report.html into a run folder; return the summary.

    Args:
        run: the run folder.
        must_write: raise when the files cannot be written; otherwise a warning is logged, so that
            a full disk costs a run its report and not its summary.

    Raises:
        RunFolderError: this is no run folder, or a file of it is damaged.
        OSError: the folder cannot be written to, and ``must_write``.
    """
    from dvla.runtime.report import report_html

    data = load_run(run)
    summary = summarise_data(data)
    pretty = msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n"
    try:
        write_atomically(data.folder.summary, pretty)
        write_atomically(data.folder.report, report_html(data, summary).encode())
    except OSError as error:
        if must_write:
            raise
        LOGGER.warning("The report could not be written: %s", error.strerror)
    return summary


def write_comparison(runs: tuple[Path, ...], out: Path) -> None:
    """Write one page on several runs.

    Raises:
        UsageError: they are too many for one page.
        OSError: the page cannot be written.
    """
    from dvla.runtime.report.compare import MAX_RUNS, compare_html

    if len(runs) > MAX_RUNS:
        raise UsageError(
            "too many runs for one page", got=len(runs), expected=f"at most {MAX_RUNS}"
        )
    loaded = [load_run(run) for run in runs]
    page = compare_html([(data, summarise_data(data)) for data in loaded])
    write_atomically(out, page.encode())


def show_summary(summary: RunSummary, *, json: bool = False, plain: bool = False) -> None:
    """Print a summary the way that the user asked for."""
    if json:
        print(msgspec.json.encode(summary).decode())
    elif wants_plain(plain):
        print(summary_text(summary))
    else:
        from rich.console import Console

        Console().print(summary_table(summary))


def main() -> int:
    """Entry point of ``dvla-report``."""
    return run_main(lambda: tyro.cli(report, prog="dvla-report"))


if __name__ == "__main__":
    sys.exit(main())
