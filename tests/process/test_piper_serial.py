"""A PiPER in another process, behind a serial CAN adapter on a pty: stopped, killed, taken over."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from emulated_piper import EmulatedPiper, line_of, start_script
from piper_commander import PATIENCE_S, take_over_patiently

from dvla.bindings import ServoClock
from dvla.runtime.errors import RobotFault
from dvla.runtime.robots.piper.driver import PiperDriver
from dvla.runtime.robots.piper.start import await_feedback, open_piper

for package in ("can", "serial", "mujoco"):
    pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.fixture
def arm() -> Iterator[EmulatedPiper]:
    emulated = EmulatedPiper()
    yield emulated
    emulated.kill()


class Host:
    """A driver on the real clock."""

    def __init__(self, address: str) -> None:
        self.clock = ServoClock(4_000_000)
        self.driver: PiperDriver = open_piper(address, 0.004)

    def take_over(self) -> None:
        take_over_patiently(self.driver, self.clock.wait)

    def until(self, reached: Callable[[], bool], setpoint: np.ndarray | None = None) -> None:
        """Turn the loop until something is so; a busy machine's pauses are taken over from."""
        end = time.monotonic() + PATIENCE_S
        while not reached():
            assert time.monotonic() < end, self.driver.phase
            if setpoint is not None and self.driver.phase == "faulted":
                self.take_over()
            now_ns = self.clock.wait()
            self.reading = self.driver.read(now_ns)
            if setpoint is not None:
                self.driver.command(setpoint, now_ns)


def test_an_arm_that_freezes_is_a_fault_and_is_taken_over_again(
    arm: EmulatedPiper,
) -> None:
    host = Host(arm.can)
    host.take_over()
    setpoint = host.driver.read(host.clock.wait()).setpoint
    setpoint[1] += 0.02
    host.until(lambda: abs(host.driver.feedback.q[0] - 0.1) > 0.03, setpoint)
    arm.signal(signal.SIGSTOP)
    host.until(lambda: host.driver.phase == "faulted", setpoint)
    assert "no feedback" in host.reading.fault
    frozen_ns, words = host.reading.t_ns, host.reading.fault
    arm.signal(signal.SIGCONT)
    host.until(lambda: host.reading.t_ns > frozen_ns)
    assert host.reading.fault == words, "a fault ends by engaging, not by itself"
    host.take_over()
    assert host.driver.phase == "engaged"
    host.driver.close()
    report = arm.end()
    assert report["control"] == 1 and all(report["enabled"]) and not report["fell"]
    assert np.abs(np.subtract(report["q"], report["target"])).max() < 0.01


def test_an_adapter_that_is_pulled_out_is_a_fault(arm: EmulatedPiper) -> None:
    host = Host(arm.can)
    host.take_over()
    arm.kill()
    with pytest.raises(RobotFault, match="the CAN bus is gone"):
        host.until(lambda: False)
    assert host.driver.phase == "faulted"
    host.driver.close()


def test_a_killed_commander_leaves_a_target_that_the_next_one_does_not_execute(
    arm: EmulatedPiper,
) -> None:
    commander = start_script("piper_commander.py", arm.can)
    assert line_of(commander) == "moving"
    time.sleep(0.3)
    commander.kill()
    commander.communicate()
    # The arm went to its last target and stays there; a person then moves it.
    arm.signal(signal.SIGUSR1)
    host = Host(arm.can)
    await_feedback(host.driver, host.clock.wait, PATIENCE_S)
    before = host.driver.feedback.q.copy()
    host.take_over()
    for _ in range(100):
        host.driver.read(host.clock.wait())
    assert np.abs(host.driver.feedback.q - before).max() < 1e-3
    host.driver.close()
    report = arm.end()
    assert np.abs(np.subtract(report["q"], before)).max() < 1e-3
    assert set(report["received"]) <= {0x151, 0x155, 0x156, 0x157, 0x471}
    assert all(report["enabled"]) and not report["fell"]
