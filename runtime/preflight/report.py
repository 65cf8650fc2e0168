"""The preflight report: findings, and the fingerprint of the set-up that they are about."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime, timezone
from pathlib import Path

import msgspec

import dvla
from dvla.engines.files import write_atomically
from dvla.runtime.addresses import check_arm_name
from dvla.runtime.limits import ArmLimits
from dvla.runtime.preflight.finding import Finding, worst

SCHEMA = 1
NAME = "preflight.json"


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a set-up is; evidence about another one counts for nothing.

    Attributes:
        hardware: where a real arm is, and what was said of it; empty for others.
        policy: digest of the bundle, ``oracle``, or an installed policy and its version;
            backend: that runs it.
        cameras: image feature -> size; sources: where their pictures come from, as given.
        limits: digest of the arm's limits.
        streaming: the switches of scheduler and servo.
        start_pose: (6,) or empty.
    """

    robot: str
    arm_name: str
    arm_address: str
    sim: bool
    policy: str
    backend: str
    cameras: dict[str, str]
    limits: str
    streaming: str
    start_pose: tuple[float, ...]
    sources: tuple[str, ...] = ()
    hardware: str = ""
    version: str = dvla.__version__

    def differences(self, other: Fingerprint) -> list[str]:
        """Return what differs, as ``name: theirs, not ours``."""
        told = []
        for name in self.__struct_fields__:
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                told.append(f"{name}: {theirs!r} then, {ours!r} now")
        return told


class PreflightReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was checked, of what, when, and how it came out.

    Attributes:
        made_utc: ISO 8601.
        run: the shadow run that the evidence is from.
        passed: no finding failed.
    """

    fingerprint: Fingerprint
    findings: tuple[Finding, ...]
    made_utc: str
    run: str
    passed: bool
    schema: int = SCHEMA

    @staticmethod
    def of(
        fingerprint: Fingerprint, findings: list[Finding], run: Path, now: datetime
    ) -> PreflightReport:
        """Return the report of findings made now."""
        return PreflightReport(
            fingerprint=fingerprint,
            findings=tuple(findings),
            made_utc=now.astimezone(timezone.utc).isoformat(timespec="seconds"),
            run=str(run.resolve()),
            passed=worst(findings) not in ("fail", "skipped"),
        )

    def age_s(self, now: datetime) -> float:
        """Return how old it is [s]; negative when it is from the future."""
        return (now - datetime.fromisoformat(self.made_utc)).total_seconds()


def limits_digest(limits: ArmLimits, overrides: tuple[str, ...] = ()) -> str:
    """Return a digest of an arm's limits and of what overrides them."""
    return hashlib.sha256(msgspec.json.encode((limits, overrides))).hexdigest()[:16]


def arm_state_folder(arm_name: str, *, sim: bool = False) -> Path:
    """Return where what is known of an arm, or of its twin, is kept from run to run.

    Raises:
        WireError: the name is not one.
    """
    check_arm_name(arm_name)
    root = os.environ.get("XDG_STATE_HOME", "")
    base = Path(root) if root and os.path.isabs(root) else Path.home() / ".local" / "state"
    folder = base / "dvla" / "arms" / arm_name
    return folder / "twin" if sim else folder


def save(report: PreflightReport, *folders: Path) -> None:
    """Write a report into folders, made if need be."""
    payload = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / NAME, payload)


def load(folder: Path) -> PreflightReport | None:
    """Return the report in a folder; None where there is none that can be read."""
    try:
        report = msgspec.json.decode((folder / NAME).read_bytes(), type=PreflightReport)
        datetime.fromisoformat(report.made_utc)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return report
