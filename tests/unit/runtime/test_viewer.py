"""The viewer: everything of a run is shown, live and recorded, and the run never knows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_run import START_NS, make_run

from dvla.engines.errors import MissingDependency
from dvla.runtime import run_inputs, viewer
from dvla.runtime.run_check import check
from dvla.runtime.run_config import RunConfig
from dvla.runtime.run_data import load_run
from dvla.runtime.run_folder import RunFolder
from dvla.runtime.viewer import Scene, import_rerun, show_run
from dvla.runtime.viewer_live import LiveRun, Viewer


class Recording:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.logged: dict[str, list[float]] = {}
        self.t_s = -1.0

    def set_time(self, timeline: str, *, duration: float) -> None:
        self.t_s = duration

    def log(self, entity: str, what: Any) -> None:
        self.logged.setdefault(entity, []).append(self.t_s)


class Rerun:
    """What the viewer asks of rerun."""

    def __getattr__(self, name: str) -> Any:
        return lambda *values, **options: self

    def compress(self, quality: int) -> Any:
        return self


def scene() -> tuple[Scene, Recording]:
    recording = Recording()
    return Scene(Rerun(), recording, START_NS), recording


SHOWN = {
    "arm/tool",
    "arm/measured/x",
    "arm/tracking_mm",
    "ages/servo_lateness_ms",
    "ages/observation_ms",
    "streams/seam_mm",
    "ages/action_in_force_ms",
    "log/scheduler",
}


def test_a_recorded_run_is_shown_on_its_own_time_line(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 2.0, video=False)
    told, recording = scene()
    show_run(load_run(folder.path), told)
    assert recording.logged.keys() >= SHOWN
    times = np.concatenate([np.array(times) for times in recording.logged.values()])
    assert times.min() >= -1.0 and times.max() < 10.0


def test_live_and_recorded_show_the_same_curves(tmp_path: Path) -> None:
    pytest.importorskip("mcap")
    folder = make_run(tmp_path, 2.0, video=False)
    told, recorded = scene()
    show_run(load_run(folder.path), told)
    growing = RunFolder(tmp_path / "growing")
    growing.path.mkdir()
    told, live = scene()
    run = LiveRun(growing, told)
    assert run.turn() == 0
    for name in ("events.jsonl", "arm.npy", "servo.npy"):
        whole = (folder.path / name).read_bytes()
        with (growing.path / name).open("ab") as file:
            for begin in range(0, len(whole), 30_001):
                file.write(whole[begin : begin + 30_001])
                file.flush()
                run.turn()
    assert live.logged.keys() == recorded.logged.keys()
    assert live.logged["log/scheduler"] == recorded.logged["log/scheduler"]
    assert len(live.logged["streams/seam_mm"]) == len(recorded.logged["streams/seam_mm"])


def test_without_rerun_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(viewer, "import_module", missing)
    with pytest.raises(MissingDependency, match="dvla\\[viz\\]"):
        import_rerun()


def test_a_run_that_cannot_be_shown_is_refused_before_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_inputs, "find_spec", lambda name: None if name == "rerun" else name)
    with pytest.raises(MissingDependency, match=r"--viz needs .*rerun\. Next: .*dvla\[viz\]"):
        check(RunConfig(sim=True, policy="oracle", viz=True))
    check(RunConfig(sim=True, policy="oracle", mcap=True))


def test_a_viewer_that_died_is_told_and_where_the_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    folder = make_run(tmp_path, 0.2, video=False)
    shown = Viewer(folder)
    assert "run.rrd" in shown.words and "no display" in shown.words
    shown._process.send_signal(signal.SIGSTOP)
    os.waitpid(shown._process.pid, os.WUNTRACED)
    assert f"was stopped, and the run went on; kill -CONT {shown._process.pid}" in shown.words
    shown._process.kill()
    shown._process.wait()
    assert "ended early (killed by SIGKILL)" in shown.words and "viewer.log" in shown.words


@pytest.mark.slow
def test_a_rrd_file_is_written_headless_and_a_dead_viewer_leaves_the_run_alone(
    tmp_path: Path,
) -> None:
    pytest.importorskip("rerun")
    pytest.importorskip("mcap")
    folder = make_run(tmp_path, 1.0, video=False)
    command = [sys.executable, "-m", "dvla.runtime.cli.view", str(folder.path), "--save"]
    saved = tmp_path / "run.rrd"
    done = subprocess.run([*command, str(saved)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert saved.stat().st_size > 10_000
    folder.summary.unlink(missing_ok=True)
    before = {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir()}
    live = subprocess.Popen([*command, str(tmp_path / "live.rrd"), "--live"])
    os.kill(live.pid, signal.SIGKILL)
    assert live.wait() == -signal.SIGKILL
    assert {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir()} == before
