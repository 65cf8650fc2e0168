"""The commands of ``dvla-bench`` that read reports: compare them, and draw their page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import tyro

from dvla.benchmarks.session import (
    Flag,
    Size,
    check_out,
    deliver_files,
    distinct,
    positive,
    threads_of,
    write_page,
)
from dvla.engines.errors import UsageError


def compare(
    a: Annotated[str, tyro.conf.Positional],
    b: Annotated[str, tyro.conf.Positional],
    bundle: Path | None = None,
    synthetic: Size | None = None,
    checkpoint: Path | None = None,
    rounds: int = 30,
    warm_up: int = 3,
    threads: int | None = None,
    out: Path | None = None,
    json: Flag = False,
    debug: Flag = False,
) -> None:
    """Compare two reports, or two backends paired in alternation, and say what noise allows.

    ``compare a.json b.json`` reads two reports. ``compare onnxruntime eager --synthetic tiny`` runs
    both subjects in alternation. A speed-up is that of B over A, with a 95 % interval; where the
    interval holds 1, no difference is shown.

    Args:
        a: a report (JSON), or a backend or peer.
        b: the other one.
        bundle: that both subjects run.
        synthetic: run seeded weights instead: tiny or full.
        checkpoint: that the bundle was made of, for the eager peer.
        rounds: each runs both subjects once.
        warm_up: rounds before those, which are not counted.
        threads: of both subjects; all cores when not given.
        out: the report (JSON) of the alternation.
        json: print the comparison as JSON.
        debug: show tracebacks.
    """
    from dvla.benchmarks.compare import compare_reports, compare_subjects_of, comparison_lines
    from dvla.benchmarks.latency.measure import PEERS, LatencyOptions
    from dvla.benchmarks.latency.run import run_latency
    from dvla.benchmarks.report.store import read_report

    del debug
    files = [_names_a_file(name) for name in (a, b)]
    if all(files):
        names = _report_names(Path(a), Path(b))
        found = compare_reports((names[0], read_report(Path(a))), (names[1], read_report(Path(b))))
    elif any(files):
        raise UsageError(
            "A report can be compared with a report, and a backend with a backend",
            got=f"{a} and {b}",
        )
    else:
        distinct("compare", (a, b))
        positive("--rounds", rounds)
        positive("--warm-up", warm_up, 0)
        options = LatencyOptions(
            backends=tuple(name for name in (a, b) if name not in PEERS),
            peers=tuple(name for name in (a, b) if name in PEERS),
            rounds=rounds,
            warm_up_rounds=warm_up,
            cold_starts=0,
            threads=threads_of(threads),
        )
        check_out(out)
        report = run_latency(bundle, synthetic, checkpoint, options)
        if out is not None:
            deliver_files(report, out)
        found = compare_subjects_of(report, a, b)
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        print("\n".join(comparison_lines(found)))


def report(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional],
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    debug: Flag = False,
) -> None:
    """Make one self-contained page (HTML) of one report or several.

    Args:
        files: reports (JSON) that dvla-bench wrote.
        out: the page; beside the first report when not given.
        debug: show tracebacks.
    """
    from dvla.benchmarks.report.store import read_report

    del debug
    if not files:
        raise UsageError("No report is given", next_command="dvla-bench report FILE.json")
    target = out or files[0].with_suffix(".html")
    if target.suffix == ".json":
        raise UsageError("The page would replace a report", got=f"-o {target}", expected="*.html")
    write_page(target, *[read_report(path) for path in files])
    print(target)


def _names_a_file(name: str) -> bool:
    return name.endswith(".json") or "/" in name or Path(name).exists()


def _report_names(a: Path, b: Path) -> tuple[str, str]:
    """Return names that tell two reports apart, as short as possible."""
    return (a.stem, b.stem) if a.stem != b.stem else (str(a), str(b))
