"""An arm that hears its commands late: all of them, in order, after the time."""

from __future__ import annotations

import numpy as np

from dvla.runtime.robots.base import ArmReading
from dvla.runtime.robots.delayed import DelayedDriver


class Recorder:
    """Notes what it is told, and when."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, float]] = []
        self.closed = False

    def read(self, now_ns: int) -> ArmReading:
        nothing = np.zeros(8)
        return ArmReading(t_ns=now_ns, setpoint=nothing, twist=nothing, q=nothing, dq=nothing)

    def command(self, setpoint: np.ndarray, now_ns: int) -> None:
        self.heard.append((now_ns, float(setpoint[0])))

    def close(self) -> None:
        self.closed = True


def test_every_command_is_heard_once_after_the_time() -> None:
    arm = Recorder()
    driver = DelayedDriver(arm, 18)
    setpoint = np.zeros(8)
    for tick in range(10):
        assert driver.read(4 * tick).t_ns == 4 * tick
        setpoint[0] = tick
        driver.command(setpoint, 4 * tick)
    assert arm.heard == [(4 * tick + 20, float(tick)) for tick in range(5)]
    driver.close()
    assert arm.closed and len(arm.heard) == 5
