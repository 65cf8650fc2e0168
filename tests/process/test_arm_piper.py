"""``dvla-arm run --robot piper`` end to end: wire, gate, driver, an arm behind a serial port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from emulated_piper import EmulatedPiper
from run_harness import free_address
from scripted_commander import PATIENCE_S, ScriptedCommander

from dvla.runtime.arm_link import ArmLink
from dvla.runtime.messages import ResumeRequest
from dvla.runtime.robots.piper.limits import PIPER_LIMITS

for package in ("can", "serial", "mujoco"):
    pytest.importorskip(package, reason=f"{package} is not installed")

ROOT = Path(__file__).resolve().parents[2]


class Bench:
    """An emulated arm, its controller, and a commander."""

    def __init__(self, folder: Path) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        self._env = {**os.environ, "PYTHONPATH": path, "XDG_RUNTIME_DIR": str(folder)}
        self.arm = EmulatedPiper()
        self.address = free_address()
        self.program: subprocess.Popen[str] | None = None

    def dvla_arm(self, *flags: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "dvla.runtime.cli.arm", *flags],
            cwd=ROOT,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self) -> None:
        flags = ("--robot", "piper", "--can", self.arm.can, "--address", self.address)
        self.program = self.dvla_arm("run", *flags)

    def close(self) -> None:
        self.arm.kill()
        if self.program is not None:
            self.program.kill()
            self.program.communicate()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    made = Bench(tmp_path)
    yield made
    made.close()


def test_frames_are_verified_without_a_word_to_the_arm(bench: Bench) -> None:
    frames = bench.dvla_arm("verify-frames", "--can", bench.arm.can, "--json")
    text = frames.communicate(timeout=PATIENCE_S)[0]
    assert frames.returncode == 0, text
    report = json.loads(text)
    assert report["ok"] and report["position_m"] < 1e-4
    assert bench.arm.end()["received"] == []


def test_a_piper_is_taken_over_moved_lost_taken_back_and_left_in_hold(bench: Bench) -> None:
    bench.run()
    commander = ScriptedCommander(ArmLink(name="piper", address=bench.address), PIPER_LIMITS)
    commander.take_over()
    start = commander.state()
    commander.play((0.0, 0.08, 0.0), 20)
    goal = start.measured[1] + 0.04
    commander.until(lambda state: state.measured[1] > goal)
    bench.arm.signal(signal.SIGUSR1)  # a person presses the button and moves it
    state = commander.until(lambda state: state.mode == "fault")
    assert "standby" in state.reason, state.reason
    where = commander.until(lambda state: state.q[0] - start.q[0] > 0.25).q
    commander.until(lambda state: state.mode != "fault" or commander.ask(ResumeRequest).ok)
    taken = commander.until(lambda state: state.mode == "follow")
    assert np.abs(np.subtract(taken.q, where)).max() < 0.05, "taking it back moved it"
    commander.close()
    assert bench.program is not None
    bench.program.send_signal(signal.SIGTERM)
    text = bench.program.communicate(timeout=PATIENCE_S)[0]
    assert bench.program.returncode == 128 + signal.SIGTERM, text
    report = bench.arm.end()
    assert all(report["enabled"]) and not report["fell"]
    assert report["control"] == 1
    assert np.abs(np.subtract(report["q"], report["target"])).max() < 0.01


def test_a_run_meant_for_a_twin_never_moves_a_real_arm(bench: Bench, tmp_path: Path) -> None:
    bench.run()
    commander = ScriptedCommander(ArmLink(name="piper", address=bench.address), PIPER_LIMITS)
    commander.until(lambda state: not state.twin)
    commander.close()
    flags = ["--robot", "franka", "--sim", "--policy", "oracle", "--arm-address", bench.address]
    command = [
        sys.executable,
        "-m",
        "dvla.runtime.cli.run",
        *flags,
        "--out",
        str(tmp_path / "runs"),
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    words = "Got a real piper. Expected the digital twin of a franka."
    assert words in " ".join(run.stderr.split()), run.stderr
    assert bench.arm.end()["control"] == 0, "it was taken over"
