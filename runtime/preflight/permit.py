"""The permit to execute: evidence of this very set-up, recent, and without a failure."""

from __future__ import annotations

from datetime import datetime

from dvla.engines.errors import DvlaError
from dvla.runtime.preflight.report import Fingerprint, PreflightReport

MAX_AGE_S = 12 * 3600.0
"""A working day: by the next one cameras have been touched."""
FUTURE_S = 60.0


class NotCleared(DvlaError):
    """The arm may not move yet; the message lists everything that is missing."""

    exit_code = 1


def missing_for_execute(
    report: PreflightReport | None, fingerprint: Fingerprint, now: datetime
) -> list[str]:
    """Return everything that keeps a set-up from moving its arm, in words.

    Args:
        report: the newest of the arm, if there is one.
        fingerprint: of the set-up that is to move.
        now: with a time zone.
    """
    if report is None:
        return ["no shadow run of this arm has been checked"]
    missing = []
    age_s = report.age_s(now)
    if age_s > MAX_AGE_S:
        missing.append(
            f"the evidence is {age_s / 3600:.1f} h old (at most {MAX_AGE_S / 3600:.0f} h)"
        )
    elif age_s < -FUTURE_S:
        missing.append(f"the evidence is from the future ({report.made_utc}): a clock was set")
    different = fingerprint.differences(report.fingerprint)
    if different:
        missing.append("the evidence is of another set-up (" + "; ".join(different) + ")")
    failed = [finding for finding in report.findings if finding.level == "fail"]
    missing += [f"check {finding.check!r} failed: {finding.got}" for finding in failed]
    if not failed and not report.passed:
        missing.append("nothing was checked")
    return missing


def require_permit(
    report: PreflightReport | None, fingerprint: Fingerprint, now: datetime, shadow_command: str
) -> None:
    """Raise unless this set-up may move its arm.

    Args:
        report: the newest of the arm, if there is one.
        fingerprint: of the set-up that is to move.
        now: with a time zone.
        shadow_command: that makes the evidence.

    Raises:
        NotCleared: it may not; says everything that is missing.
    """
    missing = missing_for_execute(report, fingerprint, now)
    if not missing:
        return
    listed = "; ".join(f"({number}) {what}" for number, what in enumerate(missing, 1))
    raise NotCleared(
        f"arm {fingerprint.arm_name!r} may not move yet: {listed}",
        expected="a run in shadow with these very settings, whose preflight passed",
        next_command=shadow_command,
    )
