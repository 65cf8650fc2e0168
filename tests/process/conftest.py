"""Fixtures of the process tests: runs of the real program, ended whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from run_harness import LiveRun


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., LiveRun]]:
    """Start runs; all are killed at the end of the test."""
    runs: list[LiveRun] = []

    def begin(*flags: str, **options: Any) -> LiveRun:
        runs.append(LiveRun(tmp_path, *flags, **options))
        return runs[-1]

    yield begin
    for run in runs:
        run.kill()
