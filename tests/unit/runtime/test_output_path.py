"""Where results go: a path that cannot be is one paragraph, before any work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_run import make_run

from dvla.engines.errors import UsageError
from dvla.runtime.cli import calibrate, report, view
from dvla.runtime.output_path import check_output
from dvla.runtime.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("runs"), 2.0, video=False)


@pytest.mark.parametrize("where", [".", "..", "/", "absent/file"])
@pytest.mark.parametrize(
    ("main", "words", "flag"),
    [
        (view.main, ["RUN"], "--save"),
        (report.main, ["RUN", "RUN"], "--out"),
        (calibrate.main, ["latency", "RUN"], "--out"),
    ],
)
def test_every_command_says_what_is_wrong_with_its_output(
    run: RunFolder, main: Callable[[], int], words: list[str], flag: str, where: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    given = [str(run.path) if word == "RUN" else word for word in words]
    monkeypatch.setattr(sys, "argv", ["dvla", *given, flag, where])
    assert main() == 2
    said = capsys.readouterr()
    told = "names a file in a folder that is not there" if "file" in where else "names a folder"
    assert said.out == "" and f"{flag} {told}" in said.err and "\n" not in said.err.strip()
    assert not run.summary.exists() and not list(tmp_path.iterdir())


def test_what_can_be_written_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("")
    for name in ("new.html", "old"):
        check_output("--out", tmp_path / name)


def test_a_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(UsageError, match="may not be written to"):
        check_output("--out", tmp_path / "new.html")
