"""The campaign: every fault, and an unsafe build that must not pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from dvla.benchmarks.faults.cases import CASES, Case, case_by_name
from dvla.benchmarks.faults.live import RunNeverFollowed
from dvla.benchmarks.faults.measure import FaultResult, measure
from dvla.runtime.machine import Machine, describe_machine

UNSAFE = (("gate", "leaving_chunk"), ("watchdog", "stop_servo_and_supervisor"))
"""What the arm lacks, and the fault that must show it."""


class UnsafeResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A build without a protection, and whether the campaign noticed."""

    lacks: str
    fault: str
    noticed: bool
    problems: tuple[str, ...]


class FaultReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything of one campaign."""

    machine: Machine
    command: str
    results: tuple[FaultResult, ...]
    unsafe: tuple[UnsafeResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every fault passed and every unsafe build failed."""
        return not any(r.problems for r in self.results) and all(u.noticed for u in self.unsafe)


def run_campaign(
    names: Sequence[str],
    *,
    unsafe: bool,
    light: bool = False,
    command: str,
    say: Callable[[str], None],
    partial: Path | None = None,
) -> FaultReport:
    """Try faults one after the other.

    Args:
        names: of the cases; empty for all.
        unsafe: try the unsafe builds too.
        light: cameras paint instead of rendering.
        command: that makes the report again.
        say: takes a line per fault.
        partial: report so far, written after every fault.
    """
    chosen = [case_by_name(name) for name in names] if names else list(CASES)
    results: list[FaultResult] = []
    found: list[UnsafeResult] = []

    def report() -> FaultReport:
        return FaultReport(
            machine=describe_machine(), command=command, results=tuple(results),
            unsafe=tuple(found),
        )  # fmt: skip

    for case in chosen:
        results.append(_once(case, light))
        say(line(results[-1]))
        if partial is not None:
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(report()), indent=1))
    for lacks, name in UNSAFE if unsafe else ():
        result = _unsafe(case_by_name(name), lacks, light)
        found.append(
            UnsafeResult(
                lacks=lacks, fault=name, noticed=bool(result.problems), problems=result.problems
            )
        )
        seen = "; ".join(result.problems) or "NOT NOTICED"
        say(f"without its {lacks}, {name}: {seen}")
    return report()


def _unsafe(case: Case, lacks: str, light: bool) -> FaultResult:
    """Measure an unsafe build; a run that never moved shows nothing, and is tried again."""
    try:
        return measure(case, unsafe=lacks, light=light)
    except RunNeverFollowed:
        return measure(case, unsafe=lacks, light=light)


def _once(case: Case, light: bool) -> FaultResult:
    """Measure a fault; one that fails is measured again, for a busy host fails too."""
    result = _try(case, light)
    return _try(case, light) if result.problems else result


def _try(case: Case, light: bool) -> FaultResult:
    """Measure a fault; a run that never moved is a result too."""
    try:
        return measure(case, light=light)
    except RunNeverFollowed as never:
        return FaultResult(
            name=case.name, group=case.group, what=case.what, hold_s=None, travelled_m=0.0,
            outside=0, judged=0, exit_code=0, left_behind=(), message=str(never)[:200],
            problems=("the run never moved its arm, so that nothing could be tried",),
        )  # fmt: skip


def line(result: FaultResult) -> str:
    """Return a result in one line."""
    held = "went on" if result.hold_s is None else f"held after {1e3 * result.hold_s:.0f} ms"
    verdict = "; ".join(result.problems) or "ok"
    return (
        f"{result.name:28s} {held:20s} {1e3 * result.travelled_m:7.1f} mm  exit "
        f"{result.exit_code:4d}  outside {result.outside}/{result.judged}  {verdict}"
    )
