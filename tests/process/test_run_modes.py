"""Shadow and execution of whole runs: nothing moves, or it moves as it was cleared to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cleared import clear
from run_harness import LiveRun

from dvla.runtime.preflight.report import NAME
from dvla.runtime.replay.journal import TURN
from dvla.runtime.run_config import RunConfig

Start = Callable[..., LiveRun]
START_POSE = (0.45, 0.05, 0.32, 3.141593, 0.0, 0.1)
FAR_POSE = (0.6, -0.4, 0.5, 3.141593, 0.0, 0.1)
Pose = tuple[float, float, float, float, float, float]


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "setup.yaml"
    path.write_text("may_execute: true\nsim: true\npolicy: oracle\nduration: 1\n")
    return str(path)


def sent(run: LiveRun) -> tuple[Any, Any]:
    """Return the times (n,) [s] and setpoints (n, 8) that reached the driver, NaN for none."""
    calls = np.load(run.folder() / "calls.npy")
    turns = calls[calls["kind"] == TURN]
    return turns["t_ns"] * 1e-9, turns["commanded"]


def cleared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pose: Pose) -> tuple[str, ...]:
    """Put evidence in place that a run with a start pose has passed its preflight; its flags."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    clear(RunConfig(sim=True, policy="oracle", start_pose=pose), tmp_path)
    return ("--start-pose", *map(str, pose))


def test_in_shadow_everything_runs_and_nothing_moves(start: Start) -> None:
    run = start("--policy", "oracle", "--shadow", "--duration", "2.5")
    assert run.end() in (0, 1), run.text  # a busy machine's timings may fail the preflight
    assert "preflight " in run.text
    assert run.summary()["peak_speed_m_s"] < 0.01  # type: ignore[operator]
    rows = sent(run)[1]
    assert len(rows) > 100 and np.isnan(rows).all(), "a driver was commanded"
    report = json.loads((run.folder() / NAME).read_text())
    assert report["fingerprint"]["sim"] and len(report["findings"]) > 10
    assert (run.state / "dvla/arms/franka/twin" / NAME).exists()
    assert (run.folder() / "wrist_cam.png").exists()
    assert run.left_behind() == []


def test_execution_without_evidence_starts_nothing_and_says_what_is_missing(
    start: Start, config: str
) -> None:
    run = start("--config", config, "--execute", "--yes")
    assert run.end() == 1, run.text
    assert "may not move yet: (1) no shadow run" in run.text
    assert "Next: dvla-run" in run.text and "--shadow" in run.text
    assert not run.runs.exists() and "pid" not in run.text


def test_a_set_up_that_may_not_move_says_so(start: Start) -> None:
    run = start("--policy", "oracle", "--execute")
    assert run.end() == 2, run.text
    assert "may_execute: true" in run.text


def test_execution_moves_slowly_to_the_start_and_back_and_ends_in_order(
    start: Start, config: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flags = cleared(monkeypatch, tmp_path, START_POSE)
    run = start("--config", config, *flags, "--execute", "--yes", "--return-to-start")
    assert run.end() == 0, run.text
    order = ("execution begins", "slow move to the start pose", "slow move back")
    assert [run.text.index(words) for words in order] == sorted(map(run.text.index, order))
    times_s, rows = sent(run)
    assert np.isnan(rows[:50]).all(), "commanded before it was confirmed"
    moved = ~np.isnan(rows[:, 0])
    times_s, rows = times_s[moved], rows[moved]
    assert np.abs(rows[-1][:3] - np.array(START_POSE[:3])).max() < 1e-3
    speed_m_s = np.linalg.norm(np.diff(rows[:, :3], axis=0), axis=1) / np.diff(times_s)
    reached = int(np.abs(rows[:, :3] - np.array(START_POSE[:3])).max(axis=1).argmin())
    assert reached > 100 and speed_m_s[:reached].max() <= 0.1 * 1.05
    assert run.left_behind() == []


def test_a_hold_during_the_slow_move_ends_the_run_where_it_stands(
    start: Start, config: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flags = cleared(monkeypatch, tmp_path, FAR_POSE)
    run = start("--config", config, *flags, "--execute", "--yes", "--return-to-start")
    run.until("slow move to the start pose")
    run.arm("hold")
    assert run.end() == 1, run.text
    assert "the arm was held before it could complete the move" in run.text
    assert "slow move back" not in run.text
    assert run.left_behind() == []
