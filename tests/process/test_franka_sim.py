"""A Franka over the real network protocol: franka-rs against franka-sim. ``make franka-sim``.

Opt-in: it needs the simulator in a virtual environment of its own, which that command makes and
which DVLA_FRANKA_SIM may name. The arm is the twin's, served by ``tests/franka_sim_server.py``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cleared import clear
from lab import build_lab
from run_harness import LiveRun
from scripted_commander import PATIENCE_S, ScriptedCommander

from dvla.bindings import ServoClock
from dvla.runtime.arm_link import ArmLink
from dvla.runtime.messages import ArmState, HoldRequest
from dvla.runtime.robots.fci.driver import FrankaDriver
from dvla.runtime.robots.fci.start import open_franka
from dvla.runtime.robots.franka import FRANKA_LIMITS
from dvla.runtime.run_config import RunConfig
from dvla.runtime.safety import QUIET_REASONS

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
VENV = Path(os.environ.get("DVLA_FRANKA_SIM", ROOT / "build" / "franka-sim"))
PYTHON = VENV / "bin" / "python"
FCI_PORT = 1337
for package in ("franka", "mujoco"):
    pytest.importorskip(package, reason=f"{package} is not installed")
pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason=f"no simulator in {VENV}; make franka-sim installs it"
)
Start = Callable[..., LiveRun]
MAX_STEP_NS = 12_000_000
BAD_WORDS = ("reflex", "violation", "aborted", "Traceback")


@pytest.fixture(autouse=True)
def own_priority() -> Iterator[None]:
    """Take back what the driver gives the thread that commands: the highest real-time priority.

    It would be the other tests' too, and everything's that they start.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    os.sched_setscheduler(0, policy, parameters)


class Server:
    """The simulated arm on the loopback."""

    def __init__(self, folder: Path) -> None:
        model = folder / "fr3.xml"
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        script = [sys.executable, str(TESTS / "franka_sim_model.py"), str(model)]
        subprocess.run(script, check=True, env=env)
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"FR3_MJCF": str(model)}
        self._log = folder / "log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [PYTHON, TESTS / "franka_sim_server.py"], env=env, stdout=log, stderr=log
            )
        end = time.monotonic() + PATIENCE_S
        while "simulation loop" not in self.log():
            assert self.process.poll() is None and time.monotonic() < end, self.log()
            time.sleep(0.1)

    def log(self) -> str:
        return self._log.read_text()

    def complaints(self) -> list[str]:
        """Return what the arm found wrong with how it was driven."""
        return [line for line in self.log().splitlines() if any(word in line for word in BAD_WORDS)]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", FCI_PORT)) == 0:
            pytest.skip(f"port {FCI_PORT} is in use; the protocol knows no other")
    made = Server(tmp_path)
    yield made
    made.close()


class Host:
    """The driver on the real clock."""

    def __init__(self) -> None:
        self.clock = ServoClock(4_000_000)
        self.driver: FrankaDriver = open_franka("127.0.0.1", 0.004, load_kg=0.0, realtime=False)
        self.reading = self.driver.read(self.clock.wait())
        self.lag_m = 0.0

    def until(self, reached: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not reached():
            assert time.monotonic() < end, self.driver.phase
            self.reading = self.driver.read(self.clock.wait())

    def glide(self, goal: np.ndarray, duration_s: float) -> None:
        """Move smoothly; where the host is late the motion waits, as a plan of the servo does."""
        start, s, before_ns = self.reading.setpoint.copy(), 0.0, self.clock.wait()
        start[7] = goal[7]
        # The hand points down: a rotation by pi, whose quaternion changes sign with its noise.
        start[3:7] *= np.copysign(1.0, start[3:7] @ goal[3:7])
        while s < 1.3:
            now_ns = self.clock.wait()
            s += min(now_ns - before_ns, MAX_STEP_NS) * 1e-9 / duration_s
            before_ns = now_ns
            self.reading = self.driver.read(now_ns)
            assert self.reading.fault == ""
            share = min(s, 1.0) ** 2 * (3.0 - 2.0 * min(s, 1.0))
            setpoint = start + share * (goal - start)
            self.driver.command(setpoint, now_ns)
            away = self.reading.setpoint[:3] - setpoint[:3]
            self.lag_m = max(self.lag_m, float(np.linalg.norm(away)))


def test_the_driver_takes_it_over_moves_it_grasps_and_lets_go(server: Server) -> None:
    host = Host()
    assert host.driver._robot.fci_version == 10
    assert "not engaged" in host.reading.standby and host.reading.fault == ""
    before = host.reading.q.copy()
    host.driver.engage(host.clock.wait())
    host.until(lambda: host.driver.phase != "engaging")
    assert host.driver.phase == "engaged", host.reading.fault
    assert np.abs(host.reading.q - before).max() < 1e-3, "taking it over moved it"
    goal = host.reading.setpoint.copy()
    goal[:3] += (0.0, 0.08, 0.05)
    goal[7] = 1.0
    host.glide(goal, 2.0)
    host.until(lambda: float(np.linalg.norm(host.reading.setpoint[:3] - goal[:3])) < 2e-3)
    goal[7] = -1.0
    host.glide(goal, 1.0)
    host.until(lambda: host.reading.setpoint[7] < -0.2)
    assert host.driver._gripper is not None and host.driver._gripper.problem == ""
    host.driver.close()
    assert host.driver.phase == "closed"
    print(f"at most {1e3 * host.lag_m:.1f} mm behind")
    assert server.complaints() == []


def test_a_controller_takes_it_over_follows_a_chunk_holds_and_leaves_it_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1] % 50000 + 10000}"
    flags = ("--robot", "franka", "--host", "127.0.0.1", "--no-realtime", "--address", address)
    program = subprocess.Popen(
        [sys.executable, "-m", "dvla.runtime.cli.arm", "run", *flags],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        commander = ScriptedCommander(ArmLink(name="franka", address=address), FRANKA_LIMITS)
        first = commander.until(lambda state: state.mode != "fault")
        assert first.shadow and not first.twin and first.robot == "franka"
        commander.take_over()
        start = commander.state()
        assert np.abs(np.subtract(start.q, first.q)).max() < 1e-3, "taking it over moved it"
        behind: list[float] = []

        def arrived(state: ArmState) -> bool:
            assert state.mode == "follow", state.reason
            behind.append(state.tracking_m)
            return state.measured[1] > start.measured[1] + 0.05

        commander.play((0.0, 0.1, 0.03), 18, gripper=-1.0)
        commander.until(arrived)
        print(f"at most {1e3 * max(behind):.1f} mm behind")
        commander.until(lambda state: state.tracking_m < 2e-3 and state.tracking_rad < 0.02)
        commander.until(lambda state: state.measured[7] < -0.2)
        # A starved host sends late; nothing else may be wrong with what it sends.
        assert set(commander.state().rejected) <= QUIET_REASONS | {"late"}
        assert commander.ask(HoldRequest, reason="enough").ok
        held = commander.until(lambda state: state.held and state.mode == "hold")
        for _ in range(100):
            commander.turn()
        moved = np.subtract(commander.state().measured, held.measured)
        assert np.abs(moved[:3]).max() < 2e-3 and np.abs(moved[3:7]).max() < 0.02
        commander.close()
        program.send_signal(signal.SIGTERM)
        text = program.communicate(timeout=PATIENCE_S)[0]
        assert program.returncode == 128 + signal.SIGTERM, text
    finally:
        program.kill()
        program.communicate()
    assert server.complaints() == []


def test_a_run_moves_slowly_to_its_start_follows_the_policy_and_holds(
    server: Server, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, lab = build_lab(tmp_path / "site")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{ROOT}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    arm = ("--host", "127.0.0.1", "--no-realtime")
    shadow = start(*arm, *lab, "--duration", "2", robot=("--robot", "franka"))
    assert shadow.end() in (0, 1), shadow.text  # a busy machine's timings may fail the preflight
    assert "in shadow: nothing moves" in shadow.text
    assert "kMove" not in server.log(), "in shadow it was taken over"
    shutil.rmtree(shadow.runs)

    pose = (0.35, 0.05, 0.45, 3.1416, 0.0, 0.0)
    cameras = tuple(lab[at + 1] for at, word in enumerate(lab) if word == "--camera")
    clear(
        RunConfig(
            robot="franka", host="127.0.0.1", realtime=False, policy="sway", start_pose=pose,
            camera=cameras,
        ),
        tmp_path,
    )  # fmt: skip
    setup = tmp_path / "setup.yaml"
    setup.write_text("may_execute: true\nduration: 1.5\n")
    flags = ("--config", str(setup), *arm, *lab, "--start-pose", *map(str, pose))
    run = start(*flags, "--execute", "--yes", robot=("--robot", "franka"))
    assert run.end() == 0, run.text
    notes = [event["text"] for event in run.events("note") if event["source"] == "arm"]
    slow = notes.index("commands are judged by the envelope of a slow move")
    assert notes.index("execution begins") < slow
    assert slow < notes.index("commands are judged by the envelope of the arm")
    rows = np.load(run.folder() / "arm.npy")
    reached = np.linalg.norm(rows["measured"][:, :3] - pose[:3], axis=1)
    assert reached.min() < 2e-3
    after = rows["measured"][reached.argmin() :]
    assert np.abs(after[:, 1] - pose[1]).max() > 0.01, "the policy moved nothing"
    assert run.left_behind() == []
    assert server.complaints() == []
