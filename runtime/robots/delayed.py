"""An arm that hears its commands late, for the sake of a trial."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.robots.base import ArmDriver, ArmReading


class DelayedDriver:
    """An ``ArmDriver`` that hands every command on after a time.

    Args:
        driver: of the arm.
        late_ns: that time; in effect the next multiple of the controller's period.
    """

    def __init__(self, driver: ArmDriver, late_ns: int) -> None:
        self._driver, self._late_ns = driver, late_ns
        self._waiting: deque[tuple[int, NDArray[np.float64]]] = deque()

    def read(self, now_ns: int) -> ArmReading:
        """Return the newest reading, and hand on what is due by now."""
        reading = self._driver.read(now_ns)
        while self._waiting and self._waiting[0][0] <= now_ns:
            self._driver.command(self._waiting.popleft()[1], now_ns)
        return reading

    def command(self, setpoint: NDArray[np.float64], now_ns: int) -> None:
        """Keep one setpoint (8,) until it is due."""
        self._waiting.append((now_ns + self._late_ns, setpoint.copy()))

    def close(self) -> None:
        """Leave the arm in hold where it is; what is still waiting is dropped."""
        self._driver.close()
