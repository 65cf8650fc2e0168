"""The end of a run: what is judged, and what is not because it never began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_run import make_run, manifest

from dvla.runtime.preflight.finding import ok
from dvla.runtime.run_config import RunConfig
from dvla.runtime.run_data import load_run
from dvla.runtime.run_end import report_run


class Judge:
    """A ``SetUp`` that finds everything in order, and counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.passed, self.findings = True, [ok("arm", "in order")]

    def conclude(self, *_: Any) -> Judge:
        self.asked += 1
        return self


def report(folder: Any, judge: Judge, config: RunConfig) -> bool:
    return report_run(config, folder, judge, {}, 0.0, {})  # type: ignore[arg-type]


def test_a_shadow_run_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judge = Judge()
    folder = make_run(tmp_path, 2.0, video=False)
    assert report(folder, judge, RunConfig(plain=True)) and judge.asked == 1
    assert "preflight passed" in capsys.readouterr().out


def test_one_that_ended_before_it_began_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = Judge()
    folder = make_run(tmp_path, 1.0, video=False)
    folder.write_manifest(manifest(sim=False, shadow=True, ending="ended by signal 2"))
    folder.events.write_bytes(b"")
    report(folder, judge, RunConfig(plain=True))
    printed = capsys.readouterr().out
    assert judge.asked == 0, "nothing was there to be judged"
    assert "preflight: not judged, for the run ended before the policy began" in printed
    assert "ended before the policy began: ended by signal 2." in printed
    assert "caught" not in printed


def test_a_run_that_outlived_its_recording_says_what_its_summary_is_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path, 2.0, video=False)
    recorded_ns = load_run(folder.path).end_ns
    for late_s, told in ((0.5, False), (13.0, True)):
        ended_ns = recorded_ns + round(late_s * 1e9)
        report_run(RunConfig(plain=True), folder, None, {}, 0.0, {}, ended_ns)
        printed = capsys.readouterr().out
        assert ("The recording ended 13.0 s before the run did" in printed) == told
