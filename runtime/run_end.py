"""The end of a run: its summary, its report, and in shadow the judgement of its preflight."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from dvla.runtime.cli.report import show_summary, write_report
from dvla.runtime.clock import NS_PER_S
from dvla.runtime.preflight.finding import lines
from dvla.runtime.preflight.report import NAME
from dvla.runtime.preflight.setup import SetUp
from dvla.runtime.run_config import RunConfig
from dvla.runtime.run_data import load_run
from dvla.runtime.run_folder import RunFolder
from dvla.runtime.say import heard
from dvla.runtime.summary import RunSummary

UNRECORDED_S = 2.0
"""The newest of a recording is this much older than the end of its run at most."""


def unrecorded(summary: RunSummary, ended_ns: int) -> str:
    """Say that a run went on after its recording ended; nothing where it did not."""
    recorded_s = summary.duration_s
    missing_s = (ended_ns - summary.manifest.started_ns) / NS_PER_S - recorded_s
    if missing_s <= UNRECORDED_S:
        return ""
    return (
        f"The recording ended {missing_s:.1f} s before the run did: all of this is about its first "
        f"{recorded_s:.1f} s. --require-recording ends such a run."
    )


def report_run(
    config: RunConfig,
    folder: RunFolder,
    setup: SetUp | None,
    words: Mapping[str, str],
    clock_bound_s: float,
    widened: dict[str, float],
    ended_ns: int = 0,
) -> bool:
    """Compute the summary, write the report, and print what a person wants to know.

    All is written and judged also where nobody reads what is printed.

    Args:
        config: of the run.
        folder: of the run, closed by its recorder.
        setup: judges a run in shadow; None where nothing is judged.
        words: what each process was granted.
        clock_bound_s: how far the arm's clock may be off.
        widened: limits that its controller had widened: name -> seconds left.
        ended_ns: when the run ended; its recording may have ended before.

    Returns:
        Whether nothing in it keeps the arm from moving.
    """
    summary = write_report(folder.path)
    if not config.json:
        with heard(sys.stdout):
            show_summary(summary, json=False, plain=config.plain)
            if folder.report.exists():
                print(f"report: {folder.report}")
            missing = unrecorded(summary, ended_ns)
            if missing:
                print(f"note: {missing}")
    found = None
    unbegun = not summary.began and bool(summary.manifest.ending)
    if setup is not None and not unbegun:
        realtime = {name: words[name] for name in ("servo", "arm") if name in words}
        found = setup.conclude(load_run(folder.path), summary, realtime, clock_bound_s, widened)
    with heard(sys.stdout):
        if config.json:
            show_summary(summary, json=True, plain=True)
        elif found is not None:
            print("preflight:")
            for line in lines(found.findings):
                print(f"  {line}")
            print(f"preflight {'passed' if found.passed else 'FAILED'}: {folder.path / NAME}")
        elif setup is not None:
            print("preflight: not judged, for the run ended before the policy began")
    return found is None or found.passed
