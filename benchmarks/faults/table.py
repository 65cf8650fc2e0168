"""The campaign as a table for the documentation."""

from __future__ import annotations

from dvla.benchmarks.faults.campaign import FaultReport
from dvla.benchmarks.faults.cases import CASES
from dvla.benchmarks.faults.measure import FaultResult


def markdown(report: FaultReport) -> str:
    """Return ``docs/faults.md``."""
    results = report.results
    machine = report.machine
    light = "--light" in report.command
    pictures = " Pictures were painted, not rendered; nobody looks at them." if light else ""
    lines = [
        "# Faults",
        "",
        f"Made by `{report.command}` on {machine.cpu}, {machine.cores} cores, load "
        f"{machine.load_1m:.1f}; every fault was done to a whole run on the Franka twin, from "
        f"outside, while the arm moved.{pictures}",
        "",
        "*Held after* is the time from the fault until the arm was commanded to rest; *travelled* "
        "is the commanded path until then (until the end of a watch of four seconds where the run "
        "goes on, as it may). *Outside* counts setpoints that reached the driver outside the "
        "Cartesian envelope, judged by arithmetic of its own. The times are this machine's under "
        "this load; the counts are the product's. Nothing here was done to a real arm.",
        "",
        f"{sum(not r.problems for r in results)} of {len(results)} passed; "
        f"{sum(r.outside for r in results)} of {sum(r.judged for r in results)} setpoints were "
        f"outside; {sum(bool(r.left_behind) for r in results)} left something behind.",
    ]
    missing = [case.name for case in CASES if case.name not in {r.name for r in results}]
    if missing:
        lines += ["", f"Not in this report: {', '.join(missing)}."]
    for group in dict.fromkeys(result.group for result in results):
        lines += [
            "",
            f"## {group}",
            "",
            "| fault | held after | travelled | outside | exit | left | said |",
        ]
        lines.append("|---|---|---|---|---|---|---|")
        lines += [_row(result) for result in results if result.group == group]
    if report.unsafe:
        lines += ["", "## Builds that must fail", "", "| arm without its | fault | noticed as |"]
        lines.append("|---|---|---|")
        for unsafe in report.unsafe:
            seen = "; ".join(unsafe.problems) or "**not noticed**"
            lines.append(f"| {unsafe.lacks} | {unsafe.fault} | {seen} |")
    return "\n".join(lines) + "\n"


def _row(result: FaultResult) -> str:
    held = "goes on" if result.hold_s is None else f"{1e3 * result.hold_s:.0f} ms"
    left = ", ".join(result.left_behind) or "nothing"
    said = result.message.replace("|", "/")
    if result.problems:
        said = f"**{'; '.join(result.problems)}** {said}"
    return (
        f"| {result.what} | {held} | {1e3 * result.travelled_m:.0f} mm | {result.outside} of "
        f"{result.judged} | {result.exit_code} | {left} | {said} |"
    )
