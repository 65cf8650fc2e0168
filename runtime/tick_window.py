"""The newest servo ticks, in one preallocated array."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.percentiles import Percentiles, percentiles
from dvla.runtime.telemetry import SERVO_TICK

CAPACITY_TICKS = 10_240  # ten seconds at 1 kHz


class TickSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the ticks of a window say; None where there are none."""

    dispatch_hz: float
    lateness_s: Percentiles | None
    observation_age_s: Percentiles | None
    saturated_share: float | None


class TickWindow:
    """A ring of SERVO_TICK rows.

    Args:
        capacity: rows kept; a window that holds more ticks is shortened to the newest.
    """

    def __init__(self, capacity: int = CAPACITY_TICKS) -> None:
        self._rows = np.zeros(capacity, SERVO_TICK)
        self._count = 0
        self.overruns = 0
        self.underruns = 0

    def add(self, ticks: NDArray[Any]) -> None:
        """Take ticks (n,), oldest first."""
        newest = ticks[-1]
        self.overruns = int(newest["overruns"])
        self.underruns = int(newest["underruns"])
        ticks = ticks[-len(self._rows) :]
        places = (self._count + np.arange(len(ticks))) % len(self._rows)
        self._rows[places] = ticks
        self._count += len(ticks)

    def since(self, since_ns: int, now_ns: int) -> TickSummary:
        """Summarise the ticks that were due at or after ``since_ns``."""
        rows = self._rows[: min(self._count, len(self._rows))]
        rows = rows[rows["t_ns"] >= since_ns]
        if not len(rows):
            return TickSummary(
                dispatch_hz=0.0, lateness_s=None, observation_age_s=None, saturated_share=None
            )
        observed = rows[rows["t_obs_ns"] > 0]
        return TickSummary(
            dispatch_hz=_dispatch_hz(rows, now_ns),
            lateness_s=percentiles(rows["lateness_ns"] / NS_PER_S),
            observation_age_s=percentiles((observed["t_ns"] - observed["t_obs_ns"]) / NS_PER_S),
            saturated_share=float(np.mean(rows["saturation"] != 0)),
        )


def _dispatch_hz(rows: NDArray[Any], now_ns: int) -> float:
    """Return commands per second from the oldest tick until now, so that a dead servo shows."""
    sent = int(rows["sent"].max()) - int(rows["sent"].min())
    span_ns = max(now_ns, int(rows["t_ns"].max())) - int(rows["t_ns"].min())
    return sent * NS_PER_S / span_ns if span_ns > 0 else 0.0
