"""``dvla-run`` on a real arm, as far as there is one here: a PiPER behind a serial port."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cleared import clear
from emulated_piper import EmulatedPiper
from lab import build_lab
from piper_emulator import READY
from run_harness import ROOT, LiveRun

from dvla.runtime.pose import quaternion_from_matrix, state_from_setpoint
from dvla.runtime.preflight.report import NAME
from dvla.runtime.replay.journal import TURN
from dvla.runtime.robots.piper.kinematics import tcp_and_twist
from dvla.runtime.run_config import RunConfig

for package in ("can", "serial", "mujoco", "mink"):
    pytest.importorskip(package, reason=f"{package} is not installed")

Start = Callable[..., LiveRun]
PIPER = ("--robot", "piper")


@pytest.fixture
def arm() -> Iterator[EmulatedPiper]:
    emulated = EmulatedPiper()
    yield emulated
    emulated.kill()


def sent(run: LiveRun) -> np.ndarray:
    """Return the setpoints (n, 8) that reached the driver, NaN for none."""
    calls = np.load(run.folder() / "calls.npy")
    return np.asarray(calls[calls["kind"] == TURN]["commanded"])


def ready_state() -> np.ndarray:
    """Return where the emulated arm stands: x, y, z [m], rx, ry, rz [rad]."""
    tcp, _ = tcp_and_twist(READY, np.zeros(6))
    setpoint = np.r_[tcp[:3, 3], quaternion_from_matrix(tcp[:3, :3]), 1.0]
    return np.asarray(state_from_setpoint(setpoint[None])[0])


def test_in_shadow_the_arm_hears_nothing(start: Start, arm: EmulatedPiper, tmp_path: Path) -> None:
    site, lab = build_lab(tmp_path / "site")
    env = {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    run = start("--can", arm.can, *lab, "--duration", "2.5", env=env, robot=PIPER)
    assert run.end() in (0, 1), run.text  # a busy machine's timings may fail the preflight
    assert "in shadow: nothing moves" in run.text and "preflight " in run.text
    assert np.isnan(sent(run)).all(), "a driver was commanded"
    assert len(run.events("chunk_merged")) > 2, run.text
    (episode,) = run.events("episode_started")
    assert episode["text"] == "sway"
    report = json.loads((run.state / "dvla/arms/piper" / NAME).read_text())
    assert arm.can in report["fingerprint"]["hardware"]
    assert report["fingerprint"]["policy"] == "sway (1.0)"
    assert run.left_behind() == []
    became = arm.end()
    assert became["received"] == [] and became["q"] == READY.tolist()


def test_execution_takes_over_moves_slowly_follows_the_policy_and_holds(
    start: Start, arm: EmulatedPiper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, lab = build_lab(tmp_path / "site")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{ROOT}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    goal = ready_state() + 0.02 * np.eye(6)[0]
    pose = tuple(float(value) for value in goal.round(4))
    setup = tmp_path / "setup.yaml"
    setup.write_text("may_execute: true\nduration: 1.5\n")
    cameras = tuple(lab[at + 1] for at, word in enumerate(lab) if word == "--camera")
    config = RunConfig(robot="piper", can=arm.can, policy="sway", start_pose=pose, camera=cameras)  # type: ignore[arg-type]
    clear(config, tmp_path)

    flags = ("--config", str(setup), "--can", arm.can, *lab, "--start-pose", *map(str, pose))
    run = start(*flags, "--execute", "--yes", robot=PIPER)
    assert run.end() == 0, run.text
    assert run.text.index("execution begins") < run.text.index("slow move to the start pose")
    rows = sent(run)
    assert np.isnan(rows[:50]).all(), "commanded before it was confirmed"
    rows = rows[~np.isnan(rows[:, 0])]
    assert np.abs(rows[0, :3] - ready_state()[:3]).max() < 2e-3, "it did not begin where it stood"
    reached = int(np.linalg.norm(rows[:, :3] - goal[:3], axis=1).argmin())
    assert np.linalg.norm(rows[reached, :3] - goal[:3]) < 1e-3
    assert np.abs(rows[reached:, 1] - goal[1]).max() > 0.01, "the policy moved nothing"
    assert run.left_behind() == []
    became = arm.end()
    assert became["control"] == 1 and all(became["enabled"]) and not became["fell"]
    assert np.abs(np.subtract(became["q"], became["target"])).max() < 0.01
