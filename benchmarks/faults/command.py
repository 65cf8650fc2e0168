"""``dvla-bench faults``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import msgspec

from dvla.engines.errors import UsageError


def faults(
    only: tuple[str, ...] = (),
    quick: bool = False,
    unsafe: bool = True,
    light: bool = False,
    resume: bool = False,
    out: Path = Path("faults.json"),
    table: Path | None = None,
    json: bool = False,
    debug: bool = False,
) -> int:
    """Do every fault to a run on the twin, and measure what the arm does.

    Exit code 1 when a fault does not pass, or when an arm without its gate or watchdog does.

    Args:
        only: Names of faults; all when empty.
        quick: Only the few that a commit is checked with.
        unsafe: Try the unsafe builds too, which must fail.
        resume: Go on with the report in --out: what passed there is not tried again.
        light: Cameras paint their pictures instead of rendering them, for a busy or small host.
        out: Where the report goes.
        table: Markdown file to write as well.
        json: Print the report as JSON.
        debug: Show tracebacks.
    """
    from dvla.benchmarks.faults.campaign import Campaign, read_report
    from dvla.benchmarks.faults.cases import CASES
    from dvla.benchmarks.faults.table import markdown
    from dvla.runtime.twin.dependencies import import_mujoco

    del debug  # read from the command line where the errors are told
    known = [case.name for case in CASES]
    for name in only:
        if name not in known:
            raise UsageError("--only names no fault", got=repr(name), choices=known)
    import_mujoco()
    names = only or tuple(case.name for case in CASES if case.quick or not quick)
    flags = "".join(f" --{name}" for name, on in (("quick", quick), ("light", light)) if on)
    flags += f" --only {' '.join(only)}" if only else ""
    # Ended from outside, a campaign leaves none of its runs behind.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    campaign = Campaign(
        command=f"dvla-bench faults{flags}",
        out=out,
        light=light,
        say=lambda line: print(line, file=sys.stderr, flush=True),
        before=read_report(out) if resume and out.exists() else None,
    )
    report = campaign.run(names, unsafe=unsafe)
    if table is not None:
        table.write_text(markdown(report))
    if json:
        print(msgspec.json.encode(report).decode())
    else:
        passed = sum(not result.problems for result in report.results)
        print(f"{passed} of {len(report.results)} faults passed; report: {out}")
    return 0 if report.passed else 1
