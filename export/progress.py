"""What an export is doing: stages with their seconds and sizes, for people and for --json."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec


class StageReport(msgspec.Struct, frozen=True, kw_only=True):
    """One finished stage: how long it took, and how much it wrote."""

    name: str
    seconds: float
    size_bytes: int


class Progress:
    """Times stages one after another and says so as they pass.

    Args:
        say: is given one line of text per event.
    """

    def __init__(self, say: Callable[[str], None] = lambda _line: None) -> None:
        self._say = say
        self.stages: list[StageReport] = []

    @contextmanager
    def stage(self, name: str, folder: Path | None = None) -> Iterator[None]:
        """Time a block; ``folder`` is what it writes into, where it writes."""
        before_bytes = folder_bytes(folder)
        started_s = time.perf_counter()
        self._say(f"{name} ...")
        yield
        report = StageReport(
            name=name,
            seconds=time.perf_counter() - started_s,
            size_bytes=folder_bytes(folder) - before_bytes,
        )
        self.stages.append(report)
        size = f", {size_text(report.size_bytes)}" if report.size_bytes else ""
        self._say(f"{name}: {report.seconds:.1f} s{size}")


def folder_bytes(folder: Path | None) -> int:
    """Return the size of all files below a folder; 0 where there is none."""
    if folder is None or not folder.exists():
        return 0
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def size_text(size_bytes: int) -> str:
    """Return a size for people."""
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1e3:.0f} kB"
    if size_bytes < 1_000_000_000:
        return f"{size_bytes / 1e6:.1f} MB"
    return f"{size_bytes / 1e9:.2f} GB"
