"""The Franka's driver over the real network protocol: franka-rs against franka-sim.

Opt-in: DVLA_FRANKA_SIM names ``run-franka-sim-server`` of a virtual environment of its own, because
it needs an older numpy and MuJoCo: python -m venv E; E/bin/pip install franka-sim==1.1.7.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dvla.bindings import ServoClock
from dvla.runtime.robots.fci.driver import FrankaDriver
from dvla.runtime.robots.fci.start import open_franka

pytest.importorskip("franka", reason="franka-rs is not installed")
pytest.importorskip("mujoco")
pytest.importorskip("mink")
SERVER = os.environ.get("DVLA_FRANKA_SIM", "")
pytestmark = pytest.mark.skipif(
    not SERVER, reason="DVLA_FRANKA_SIM does not name run-franka-sim-server"
)
TESTS = Path(__file__).resolve().parents[1]
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("franka")
    model = folder / "fr3.xml"
    subprocess.run([sys.executable, str(TESTS / "franka_sim_model.py"), str(model)], check=True)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"FR3_MJCF": str(model)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [SERVER, "--enforce-comm-constraints"], env=env, stdout=log, stderr=log
        )
    yield
    process.terminate()
    process.wait(30)


class Host:
    """The driver on the real clock."""

    def __init__(self) -> None:
        self.clock = ServoClock(4_000_000)
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.driver: FrankaDriver = open_franka(
                    "127.0.0.1", 0.004, load_kg=0.0, realtime=False
                )
                return
            except Exception:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)

    def until(self, reached: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not reached():
            assert time.monotonic() < end, self.driver.phase
            self.reading = self.driver.read(self.clock.wait())

    def glide(self, goal: np.ndarray, duration_s: float) -> None:
        start, t0 = self.reading.setpoint.copy(), time.monotonic()
        while (s := (time.monotonic() - t0) / duration_s) < 1.3:
            now_ns = self.clock.wait()
            self.reading = self.driver.read(now_ns)
            assert self.reading.fault == ""
            share = min(s, 1.0) ** 2 * (3.0 - 2.0 * min(s, 1.0))
            self.driver.command(start + share * (goal - start), now_ns)


def test_an_arm_is_taken_over_moved_and_left_in_hold(server: None) -> None:
    host = Host()
    host.until(lambda: True)
    host.reading = host.driver.read(host.clock.wait())
    assert "not engaged" in host.reading.standby
    before = host.reading.q.copy()
    host.driver.engage(host.clock.wait())
    host.until(lambda: host.driver.phase != "engaging")
    assert host.driver.phase == "engaged", host.reading.fault
    assert np.abs(host.reading.q - before).max() < 1e-3, "taking it over moved it"
    goal = host.reading.setpoint.copy()
    goal[:3] += (0.0, 0.08, 0.05)
    host.glide(goal, 2.0)
    assert np.linalg.norm(host.reading.setpoint[:3] - goal[:3]) < 2e-3
    goal[7] = -1.0
    host.glide(goal, 1.0)
    host.until(lambda: host.reading.setpoint[7] < -0.9)
    host.driver.close()
    assert host.driver.phase == "closed"
