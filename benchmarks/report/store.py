"""Reports on disk: read with every wrong input told apart, written complete or not at all."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dvla.benchmarks.report.schema import SCHEMA, SCHEMA_VERSION, BenchReport
from dvla.engines.errors import DvlaError
from dvla.engines.files import write_atomically

MAX_REPORT_BYTES = 64 << 20


class ReportError(DvlaError):
    """A file is not a report of ``dvla-bench``, or is of another schema version."""


class _Head(msgspec.Struct):
    schema: object = None
    schema_version: object = None


def read_report(path: Path) -> BenchReport:
    """Read a report.

    Raises:
        ReportError: there is no such file, it is no report, or it is of another version.
    """
    expected = f"a report of dvla-bench, schema version {SCHEMA_VERSION}"
    try:
        if path.stat().st_size > MAX_REPORT_BYTES:
            raise ReportError(f"{path} is too large for a report", expected=expected)
        encoded = path.read_bytes()
        head = msgspec.json.decode(encoded, type=_Head)
    except OSError as error:
        raise ReportError(
            f"{path} cannot be read", got=error.strerror, expected=expected
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{path} is not a report", got=str(error), expected=expected) from error
    if head.schema != SCHEMA:
        raise ReportError(
            f"{path} is not a report of latency, servo or stream",
            got=f"schema {head.schema!r}",
            expected=expected,
        )
    if head.schema_version != SCHEMA_VERSION:
        raise ReportError(
            f"{path} was written by another version of dvla-bench",
            got=f"schema version {head.schema_version}",
            expected=f"schema version {SCHEMA_VERSION}",
            next_command="measure again with this version",
        )
    try:
        return msgspec.json.decode(encoded, type=BenchReport)
    except msgspec.ValidationError as error:
        raise ReportError(f"{path} is damaged", got=str(error), expected=expected) from error


def write_report(path: Path, report: BenchReport) -> None:
    """Write a report in one step."""
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=1)
    write_whole(path, encoded + b"\n")


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step, in a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
