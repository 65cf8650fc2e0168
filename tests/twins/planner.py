"""Plain twin of dvla.bindings.ServoPlanner, over given timelines and the shaper's twin."""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray
from twins import interpolation
from twins.shaper import ShaperTwin
from twins.stream import TwinTimeline


class PlannerTwin:
    """One servo tick: sample, shape, roll a copy forward."""

    def __init__(self, shaper: ShaperTwin, horizon: int, period_ns: int) -> None:
        self.shaper, self.horizon, self.period_ns = shaper, horizon, period_ns
        self.timeline: TwinTimeline | None = None
        self.status = "IDLE"
        self.underruns = 0
        self.last_ns: int | None = None

    def _step(self, shaper: ShaperTwin, t_ns: int) -> str:
        status = self.timeline.status(t_ns) if self.timeline else "EMPTY"
        if self.timeline and status == "ACTIVE":
            line = self.timeline
            shaper.step(*interpolation.interpolate(line.t_ns, line.setpoints, t_ns))
        else:
            shaper.stop_step()
        return status

    def _tick(self, now_ns: int) -> None:
        status = self._step(self.shaper, now_ns)
        self.underruns += status == "UNDERRUN" and self.status == "FOLLOWING"
        moving = any(m.v.any() or m.a.any() for m in (self.shaper.linear, self.shaper.angular))
        self.status = "FOLLOWING" if status == "ACTIVE" else "STOPPING" if moving else "IDLE"

    def plan(self, now_ns: int) -> NDArray[np.float64]:
        """Return the setpoints (horizon, 8) due at ``now_ns`` and after."""
        if self.last_ns is not None:
            skipped = round((now_ns - self.last_ns) / self.period_ns) - 1
            if 0 < skipped < self.horizon:
                for k in range(skipped, 0, -1):
                    self._tick(now_ns - k * self.period_ns)
        self._tick(now_ns)
        self.last_ns = now_ns
        ghost, rows = copy.deepcopy(self.shaper), [self.shaper.setpoint]
        for k in range(1, self.horizon):
            self._step(ghost, now_ns + k * self.period_ns)
            rows.append(ghost.setpoint)
        return np.array(rows)
