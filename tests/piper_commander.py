"""A program that takes a PiPER over and moves it until it is killed: python ... ADDRESS."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from dvla.bindings import ServoClock
from dvla.runtime.errors import RobotFault
from dvla.runtime.robots.piper.driver import PiperDriver
from dvla.runtime.robots.piper.start import await_feedback, open_piper, take_over

PATIENCE_S = 30.0


def take_over_patiently(driver: PiperDriver, wait: Callable[[], int]) -> None:
    """Hear from the arm and take it over at rest; a busy machine may pause for too long."""
    end = time.monotonic() + PATIENCE_S
    while driver.phase != "engaged":
        try:
            await_feedback(driver, wait, PATIENCE_S)
            take_over(driver, wait)
        except RobotFault as fault:
            passing = "no feedback" in str(fault) or "the arm moves" in str(fault)
            if not passing or time.monotonic() > end:
                raise


def main() -> None:
    """Move the arm sideways, 5 cm/s, for ever."""
    clock = ServoClock(4_000_000)
    driver = open_piper(sys.argv[1], 0.004)
    take_over_patiently(driver, clock.wait)
    setpoint = driver.read(clock.wait()).setpoint
    print("moving", flush=True)
    while True:
        now_ns = clock.wait()
        setpoint[1] += 0.0002
        driver.read(now_ns)
        driver.command(setpoint, now_ns)


if __name__ == "__main__":
    main()
