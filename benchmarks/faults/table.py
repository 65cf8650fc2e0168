"""The campaign as a page for the documentation: ``python -m dvla.benchmarks.faults.table``."""

from __future__ import annotations

import re
from pathlib import Path

from dvla.benchmarks.faults.campaign import FaultReport, UnsafeResult, read_report
from dvla.benchmarks.faults.cases import CASES
from dvla.benchmarks.faults.measure import FaultResult

RESULTS, PAGE = Path("benchmarks/results/faults.json"), Path("docs/faults.md")


def markdown(report: FaultReport) -> str:
    """Return ``docs/faults.md``."""
    results = report.results
    lines = [
        "# Faults",
        "",
        f"Made by `{report.command}` ({RESULTS}), on {report.machine.cpu}, {report.machine.cores} "
        f"cores. {_busy(results)} Every fault was done to a whole run on the Franka twin, from "
        f"outside, while the arm moved.{_pictures(report)} `--resume` goes on where a campaign "
        "was broken off.",
        "",
        "*Held after* is the time from the fault until the arm was commanded to rest; *travelled* "
        "is the commanded path until then (until the end of a watch of four seconds where the run "
        "goes on, as it may). *Outside* counts setpoints that the arm was sent outside of the "
        "envelope or of the limits of its joints, judged apart from the gate: divided differences "
        "of the path, and the joints, in plain numpy, of an arm that follows it as well as their "
        "acceleration lets it. The times are this machine's under this load; the counts are the "
        "product's. Nothing here was done to a real arm.",
        "",
        _sums(results),
    ]
    missing = [case.name for case in CASES if case.name not in {r.name for r in results}]
    if missing:
        lines += ["", f"Not in this report: {', '.join(missing)}."]
    for group in dict.fromkeys(result.group for result in results):
        lines += [
            "",
            f"## {group}",
            "",
            "| fault | held after | travelled | outside | exit | arm at the end | left | said |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [_row(result) for result in results if result.group == group]
    if report.unsafe:
        lines += [
            "",
            "## Builds that must fail",
            "",
            "The same campaign on an arm process without one of its protections. It counts as "
            "noticed only with the problem that this protection is there to prevent.",
            "",
            "| arm without its | fault | noticed | problems |",
            "|---|---|---|---|",
            *(_unsafe_row(one) for one in report.unsafe),
        ]
    return "\n".join(lines) + "\n"


STARVED = (
    " Much of it ran on a starved host, where the arm also stops for want of pictures (*has no "
    "frame near*) and goes on when they come: there a hold shows that the arm stopped in order, "
    "not that it was this fault that stopped it."
)
STARVED_LOAD = 8.0


def _busy(results: tuple[FaultResult, ...]) -> str:
    loads = [result.load_1m for result in results] or [0.0]
    again = sum(result.tries > 1 for result in results)
    text = f"Other work ran beside it: load average {min(loads):.1f} to {max(loads):.1f}."
    if again:
        text += f" {again} of the cases failed once and were tried again."
    return text + (STARVED if max(loads) > STARVED_LOAD else "")


def _pictures(report: FaultReport) -> str:
    """Say what the cameras did; the oracle looks at no picture."""
    if " --light" not in report.command:
        return ""
    return " Cameras may paint their pictures (`--light`): the oracle looks at none."


def _said(text: str) -> str:
    """Return words of a run for a cell of a table: without process ids, and nothing twice."""
    text = re.sub(r" \(pid \d+\)", "", text)
    text = re.sub(r"^(\w+): \1: ", r"\1: ", text)
    return text.replace("|", "/").replace("\n", " ")


def _sums(results: tuple[FaultResult, ...]) -> str:
    outside = sum(_outside(result) for result in results)
    worst: dict[str, float] = {}
    for result in results:
        for name, share in result.judgement.worst.items():
            worst[name] = max(worst.get(name, 0.0), share)
    most = ", ".join(f"{name.replace('_', ' ')} {share:.2f}" for name, share in worst.items())
    return (
        f"**{sum(not r.problems for r in results)} of {len(results)} passed; {outside} of "
        f"{sum(r.judgement.judged for r in results)} setpoints were outside; "
        f"{sum(bool(r.left_behind) for r in results)} left something behind.** The largest shares "
        f"of the bounds: {most}."
    )


def _outside(result: FaultResult) -> int:
    judgement = result.judgement
    return sum(judgement.outside.values()) + sum(judgement.joints_outside.values())


def _row(result: FaultResult) -> str:
    held = "goes on" if result.hold_s is None else f"{1e3 * result.hold_s:.0f} ms"
    left = ", ".join(result.left_behind) or "nothing"
    said, arm = _said(result.message), _said(result.arm_said)
    if result.problems:
        said = f"**{'; '.join(result.problems)}** {said}"
    return (
        f"| {result.what} | {held} | {1e3 * result.travelled_m:.0f} mm | {_outside(result)} of "
        f"{result.judgement.judged} | {result.exit_code} | {arm} | {left} | {said} |"
    )


def _unsafe_row(one: UnsafeResult) -> str:
    problems = "; ".join(one.result.problems) or "none"
    noticed = "yes" if one.noticed else "**no**"
    return f"| {one.lacks} | {one.result.what} ({one.result.name}) | {noticed} | {problems} |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(markdown(read_report(RESULTS)))


if __name__ == "__main__":
    main()
