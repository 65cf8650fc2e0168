"""The campaign: every fault, and unsafe builds that must not pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from dvla.benchmarks.faults.cases import CASES, Case, case_by_name
from dvla.benchmarks.faults.measure import FaultResult, measure
from dvla.engines.errors import DvlaError
from dvla.runtime.machine import Machine, describe_machine

TRIES = 2


class Unsafe(msgspec.Struct, frozen=True, kw_only=True):
    """A build that the campaign must fail.

    Attributes:
        lacks: what its arm process is without.
        fault: that must show it.
        sign: words of the problem that shows just that; any other problem shows nothing.
    """

    lacks: str
    fault: str
    sign: str


UNSAFE = (
    Unsafe(lacks="gate", fault="tilting_chunk", sign="limits of the joints"),
    Unsafe(lacks="joint gate", fault="tilting_chunk", sign="limits of the joints"),
    Unsafe(lacks="watchdog", fault="stop_servo_and_supervisor", sign="nobody commands the arm"),
)


class UnsafeResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A build without a protection, and whether the campaign noticed.

    Attributes:
        lacks: what it is without.
        noticed: the problem that shows it was found.
        result: of the fault.
    """

    lacks: str
    noticed: bool
    result: FaultResult


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


def read_report(path: Path) -> FaultReport:
    """Return a report.

    Raises:
        msgspec.ValidationError: the file holds something else.
    """
    return msgspec.json.decode(path.read_bytes(), type=FaultReport)


class Campaign:
    """Tries faults one after the other, and writes the report after each.

    Args:
        command: that makes the report again.
        out: where the report goes.
        light: cameras paint instead of rendering.
        say: takes a line per fault.
        before: a report whose passed faults are not tried again.
    """

    def __init__(
        self,
        *,
        command: str,
        out: Path,
        light: bool,
        say: Callable[[str], None],
        before: FaultReport | None = None,
    ) -> None:
        self._command, self._out, self._light, self._say = command, out, light, say
        results = before.results if before else ()
        unsafe = before.unsafe if before else ()
        self._results = {result.name: result for result in results}
        self._unsafe = {one.lacks: one for one in unsafe}

    @property
    def report(self) -> FaultReport:
        """What is known so far, in the order of the table."""
        return FaultReport(
            machine=describe_machine(),
            command=self._command,
            results=tuple(self._results[c.name] for c in CASES if c.name in self._results),
            unsafe=tuple(self._unsafe[u.lacks] for u in UNSAFE if u.lacks in self._unsafe),
        )

    def run(self, names: Sequence[str], *, unsafe: bool) -> FaultReport:
        """Try faults, those of an earlier report that passed left out.

        Args:
            names: of the cases.
            unsafe: try the unsafe builds too.
        """
        for case in [case_by_name(name) for name in names]:
            known = self._results.get(case.name)
            if known is None or known.problems:
                self._results[case.name] = self._measured(case)
                self._say(line(self._results[case.name]))
                self._write()
        for build in UNSAFE if unsafe else ():
            before = self._unsafe.get(build.lacks)
            if before is None or not before.noticed:
                self._unsafe[build.lacks] = found = self._try_unsafe(build)
                seen = "; ".join(found.result.problems) or "no problem"
                verdict = "noticed" if found.noticed else "NOT NOTICED"
                self._say(f"without its {build.lacks}, {build.fault}: {verdict}: {seen}")
                self._write()
        return self.report

    def _measured(self, case: Case) -> FaultResult:
        """Measure a fault; one that fails is measured again, for a busy host fails too.

        A setpoint outside of the envelope is no matter of luck: it stays.
        """
        result = self._once(case)
        if not result.problems or _left_the_envelope(result):
            return result
        return msgspec.structs.replace(self._once(case), tries=TRIES)

    def _once(self, case: Case) -> FaultResult:
        """Measure a fault; a run that never moved is a result too."""
        try:
            return measure(case, light=self._light)
        except DvlaError as error:
            return FaultResult(
                name=case.name, group=case.group, what=case.what, message=str(error)[:200],
                problems=("nothing could be tried",),
            )  # fmt: skip

    def _try_unsafe(self, build: Unsafe) -> UnsafeResult:
        """Measure an unsafe build; a run in which nothing showed may not have moved, and is tried
        again."""
        for _ in range(TRIES):
            try:
                result = measure(case_by_name(build.fault), unsafe=build.lacks, light=self._light)
            except DvlaError as error:
                case = case_by_name(build.fault)
                result = FaultResult(
                    name=case.name, group=case.group, what=case.what, message=str(error)[:200]
                )
            noticed = any(build.sign in problem for problem in result.problems)
            if noticed:
                break
        return UnsafeResult(lacks=build.lacks, noticed=noticed, result=result)

    def _write(self) -> None:
        report = msgspec.json.format(msgspec.json.encode(self.report), indent=1)
        self._out.write_bytes(report + b"\n")


def _left_the_envelope(result: FaultResult) -> bool:
    return bool(result.judgement.outside or result.judgement.joints_outside)


def line(result: FaultResult) -> str:
    """Return a result in one line."""
    held = "went on" if result.hold_s is None else f"held after {1e3 * result.hold_s:.0f} ms"
    verdict = "; ".join(result.problems) or "ok"
    return (
        f"{result.name:28s} {held:20s} {1e3 * result.travelled_m:7.1f} mm  exit "
        f"{result.exit_code:4d}  judged {result.judgement.judged}  arm {result.arm_said!r}  "
        f"{verdict}"
    )
