"""A program that takes a PiPER over and moves it until it is killed: python ... ADDRESS."""

from __future__ import annotations

import sys

from dvla.bindings import ServoClock
from dvla.runtime.robots.piper.start import await_feedback, open_piper, take_over


def main() -> None:
    """Move the arm sideways, 5 cm/s, for ever."""
    clock = ServoClock(4_000_000)
    driver = open_piper(sys.argv[1], 0.004)
    await_feedback(driver, clock.wait, 20.0)
    take_over(driver, clock.wait)
    setpoint = driver.read(clock.wait()).setpoint
    print("moving", flush=True)
    while True:
        now_ns = clock.wait()
        setpoint[1] += 0.0002
        driver.read(now_ns)
        driver.command(setpoint, now_ns)


if __name__ == "__main__":
    main()
