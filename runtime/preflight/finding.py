"""Findings: what a check looked at, what it got, what it expected, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Level = Literal["ok", "warn", "fail", "skipped"]
LEVELS: tuple[Level, ...] = ("ok", "warn", "fail", "skipped")
MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL", "skipped": "–   "}


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result of one check.

    Attributes:
        check: short name, the same from run to run.
        level: ok; warn: somebody should know; fail: the arm may not move; skipped: does not apply.
        got: what was found, in words with units.
        expected: what would have been accepted.
        next_command: what to do about it; empty when nothing is to be done.
    """

    check: str
    level: Level
    got: str
    expected: str = ""
    next_command: str = ""


def ok(check: str, got: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check=check, level="ok", got=got)


def skipped(check: str, why: str) -> Finding:
    """Return a finding that a check does not apply."""
    return Finding(check=check, level="skipped", got=why)


def missing(check: str, what: str) -> Finding:
    """Return the failure of a check that had too little to look at."""
    return Finding(
        check=check,
        level="fail",
        got=what,
        expected="enough of a run in shadow to judge by",
        next_command="dvla-run --shadow --duration 20, with the other flags of this set-up",
    )


def worst(findings: Iterable[Finding]) -> Level:
    """Return the gravest level."""
    levels = {finding.level for finding in findings}
    for level in ("fail", "warn", "ok"):
        if level in levels:
            return level
    return "skipped"


def lines(findings: Iterable[Finding]) -> list[str]:
    """Return the findings as lines of text for people."""
    told = []
    for finding in findings:
        told.append(f"{MARKS[finding.level]}  {finding.check}: {finding.got}")
        if finding.level in ("warn", "fail"):
            if finding.expected:
                told.append(f"        expected {finding.expected}")
            if finding.next_command:
                told.append(f"        next: {finding.next_command}")
    return told
