"""``dvla-run`` on a real arm, as far as there is one here: a PiPER behind a serial port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cleared import clear
from emulated_piper import EmulatedPiper
from lab import build_lab
from piper_emulator import READY
from run_harness import PATIENCE_S, ROOT, LiveRun, free_address

from dvla.runtime.pose import quaternion_from_matrix, state_from_setpoint
from dvla.runtime.preflight.report import NAME
from dvla.runtime.replay.journal import TURN
from dvla.runtime.robots.piper.kinematics import tcp_and_twist
from dvla.runtime.run_config import RunConfig

for package in ("can", "serial", "mujoco"):
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


def arm_states(run: LiveRun, folder: Path | None = None) -> np.ndarray:
    """Return the setpoints (n, 8) that the arm said it had reached."""
    rows = np.load((folder or run.folder()) / "arm.npy")["measured"]
    return np.asarray(rows[np.isfinite(rows).all(axis=1)])


def events_of(folder: Path) -> list[str]:
    """Return the lines of a run's events."""
    return (folder / "events.jsonl").read_text().splitlines()


def start_pose() -> np.ndarray:
    """Return where the policy starts: two centimetres from where the arm stands."""
    return np.asarray((ready_state() + 0.02 * np.eye(6)[0]).round(4))


def set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Path, lab: tuple[str, ...], **where: str
) -> tuple[str, ...]:
    """Put evidence in place that a set-up has passed its preflight; return its flags."""
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{ROOT}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    setup = tmp_path / "setup.yaml"
    setup.write_text("may_execute: true\nduration: 1.5\n")
    cameras = tuple(lab[at + 1] for at, word in enumerate(lab) if word == "--camera")
    pose = tuple(start_pose().tolist())
    config = RunConfig(robot="piper", policy="sway", start_pose=pose, camera=cameras, **where)  # type: ignore[arg-type]
    clear(config, tmp_path)
    return ("--config", str(setup), *lab, "--start-pose", *map(str, pose))


def went_to_the_start_and_followed(rows: np.ndarray) -> None:
    """Assert that setpoints (n, 8) lead to the start pose, and to and fro from there."""
    goal = start_pose()
    reached = int(np.linalg.norm(rows[:, :3] - goal[:3], axis=1).argmin())
    assert np.linalg.norm(rows[reached, :3] - goal[:3]) < 1e-3
    assert np.abs(rows[reached:, 1] - goal[1]).max() > 0.01, "the policy moved nothing"


def holds_with_its_motors_on(arm: EmulatedPiper) -> None:
    """Assert that a run left the arm at rest, taken over."""
    became = arm.end()
    assert became["control"] == 1 and all(became["enabled"]) and not became["fell"]
    assert np.abs(np.subtract(became["q"], became["target"])).max() < 0.01


class Controller:
    """``dvla-arm run`` on the emulated arm, with a limit widened for a time."""

    def __init__(self, tmp_path: Path, arm: EmulatedPiper, address: str) -> None:
        self._log, self._address = tmp_path / "controller.txt", address
        override = "max_command_age_s=0.2:120:a busy test machine"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dvla.runtime.cli.arm", "run", "--robot", "piper",
                 "--can", arm.can, "--address", address, "--override", override],
                cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def text(self) -> str:
        """Everything it has printed."""
        return self._log.read_text()

    def until(self, words: str) -> None:
        """Wait until it has printed something."""
        deadline_s = time.monotonic() + PATIENCE_S
        while words not in self.text:
            assert self.process.poll() is None and time.monotonic() < deadline_s, self.text
            time.sleep(0.05)

    def ask(self, action: str) -> dict[str, object]:
        """Return what ``dvla-arm`` says of it."""
        done = subprocess.run(
            [sys.executable, "-m", "dvla.runtime.cli.arm", action,
             "--address", self._address, "--json"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return dict(json.loads(done.stdout))


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
    flags = set_up(tmp_path, monkeypatch, site, lab, can=arm.can)
    run = start("--can", arm.can, *flags, "--execute", "--yes", robot=PIPER)
    assert run.end() == 0, run.text
    assert run.text.index("execution begins") < run.text.index("slow move to the start pose")
    rows = sent(run)
    assert np.isnan(rows[:50]).all(), "commanded before it was confirmed"
    rows = rows[~np.isnan(rows[:, 0])]
    assert np.abs(rows[0, :3] - ready_state()[:3]).max() < 2e-3, "it did not begin where it stood"
    went_to_the_start_and_followed(rows)
    assert run.left_behind() == []
    holds_with_its_motors_on(arm)


def test_a_controller_of_its_own_serves_a_shadow_run_and_an_execution_and_holds(
    start: Start, arm: EmulatedPiper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, lab = build_lab(tmp_path / "site")
    address = free_address()
    env = {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    where = ("--arm-address", address)
    controller = Controller(tmp_path, arm, address)
    try:
        controller.until("listening at")
        shadow = start(*where, *lab, "--duration", "1.5", env=env, robot=PIPER)
        assert shadow.end() in (0, 1), shadow.text  # a busy machine's timings may fail it
        # What the controller was told is told to who connects, and by whom the run is judged.
        assert "its limits are widened: max_command_age_s for" in shadow.text
        assert "widened limits: max_command_age_s" in " ".join(shadow.text.split())
        assert len(shadow.events("chunk_merged")) > 2, shadow.text
        assert np.ptp(arm_states(shadow), axis=0).max() < 1e-6, "it moved in shadow"
        (shadow_folder,) = shadow.runs.iterdir()

        flags = set_up(tmp_path, monkeypatch, site, lab, arm_address=address)
        run = start(*where, *flags, "--execute", "--yes", robot=PIPER)
        assert run.end() == 0, run.text
        (folder,) = set(run.runs.iterdir()) - {shadow_folder}
        went_to_the_start_and_followed(arm_states(run, folder))
        modes = [json.loads(line)["mode"] for line in events_of(folder) if '"arm_mode"' in line]
        assert "follow" in modes
        replay = [sys.executable, "-m", "dvla.runtime.cli.replay", str(folder)]
        done = subprocess.run(replay, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "left out" in done.stdout, done.stdout + done.stderr
        assert controller.process.poll() is None, "the controller outlives its runs"
        state = controller.ask("state")
        assert state["mode"] in ("idle", "hold") and not state["twin"]
        controller.process.terminate()
        assert controller.process.wait(PATIENCE_S) == 128 + signal.SIGTERM, controller.text
    finally:
        controller.process.kill()
        controller.process.wait()
    assert run.left_behind() == []
    holds_with_its_motors_on(arm)
