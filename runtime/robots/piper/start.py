"""Start-up of a PiPER: open the bus, hear from the arm, take it over. None of it is in a loop."""

from __future__ import annotations

from collections.abc import Callable

from dvla.runtime.errors import RobotFault
from dvla.runtime.ik import DifferentialIk
from dvla.runtime.robots.piper.bus import open_bus
from dvla.runtime.robots.piper.driver import PiperDriver
from dvla.runtime.robots.piper.health import silence
from dvla.runtime.robots.piper.joints import PIPER_JOINTS


def open_piper(address: str, period_s: float, *, speed_percent: int = 100) -> PiperDriver:
    """Return a driver that listens; nothing is sent before it is engaged.

    Args:
        address: see ``open_bus``.
        period_s: time between commands.
        speed_percent: share of full joint speed with which the arm follows.

    Raises:
        ConfigError: the address is no bus.
        MissingDependency: the extra ``piper`` is not installed.
        RobotFault: the bus cannot be opened.
    """
    ik = DifferentialIk(period_s, PIPER_JOINTS)
    return PiperDriver(open_bus(address), ik, speed_percent=speed_percent)


def await_feedback(driver: PiperDriver, wait: Callable[[], int], timeout_s: float = 2.0) -> None:
    """Turn a loop until the arm has reported everything that it reports; sends nothing.

    Args:
        driver: just opened.
        wait: sleeps until the next turn and returns its time [ns]; a ``ServoClock``'s ``wait``.
        timeout_s: how long to wait.

    Raises:
        RobotFault: something is still missing.
    """
    now_ns = wait()
    end_ns = now_ns + int(timeout_s * 1e9)
    wrong = "nothing"
    while wrong:
        try:
            driver.read(now_ns)
            wrong = silence(driver.feedback, now_ns)
        except RobotFault:
            if now_ns > end_ns:
                raise
        if wrong and now_ns > end_ns:
            raise RobotFault("the PiPER does not report", got=wrong)
        now_ns = wait()


def take_over(driver: PiperDriver, wait: Callable[[], int]) -> None:
    """Engage and turn a loop until that has succeeded.

    Raises:
        RobotFault: it has not.
    """
    driver.engage(wait())
    reading = driver.read(wait())
    while driver.phase == "engaging":
        reading = driver.read(wait())
    if driver.phase != "engaged":
        raise RobotFault("the PiPER could not be engaged", got=reading.fault)
