"""The driver of the twin: what the arm controller talks to, as it would to a real arm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.ik import DifferentialIk
from dvla.runtime.robots.base import ArmReading
from dvla.runtime.twin.world import TwinWorld

_MAX_IK_ERROR_M = 0.10


class TwinDriver:
    """An ``ArmDriver`` over a ``TwinWorld``.

    Faults are latched until ``reset``: a setpoint that is not finite, or one that the joints
    cannot reach. The servos then keep their last targets, as a faulted arm with brakes would.

    Args:
        world: the simulated arm and its surroundings.
        ik: solver for the rate at which ``command`` is called.
    """

    def __init__(self, world: TwinWorld, ik: DifferentialIk) -> None:
        self._world = world
        self._ik = ik
        self.reset()

    def reset(self) -> None:
        """Take the arm as it is now and clear the fault."""
        self._ik.reset(self._world.q)
        self._fault = ""
        self._last = self._world.measured()
        self._last_ns = self._world.t_ns

    def read(self, now_ns: int) -> ArmReading:
        """Advance physics to ``now_ns`` and return what the arm measures."""
        self._world.advance(now_ns)
        return ArmReading(
            t_ns=self._world.t_ns,
            setpoint=self._world.measured(),
            twist=self._world.twist(),
            q=self._world.q,
            dq=self._world.dq,
            fault=self._fault,
        )

    def command(self, setpoint: NDArray[np.float64], now_ns: int) -> None:
        """Send one setpoint (8,); gripper +1 is open, -1 closed."""
        if self._fault:
            return
        if not np.isfinite(setpoint).all():
            self._fault = "the setpoint is not finite"
            return
        q, error_m = self._ik.step(setpoint, now_ns)
        if error_m > _MAX_IK_ERROR_M:
            self._fault = f"the joints cannot follow the setpoint: {1000 * error_m:.0f} mm away"
            return
        opening = float(np.clip(setpoint[7], -1.0, 1.0))
        elapsed_s = max((now_ns - self._last_ns) / NS_PER_S, 1e-3)
        velocity = (setpoint[:3] - self._last[:3]) / elapsed_s
        self._last, self._last_ns = setpoint.copy(), now_ns
        travel_m = self._world.body.finger_travel_m
        self._world.drive(q, travel_m * (opening + 1.0) / 2.0, setpoint, velocity)

    def close(self) -> None:
        """Leave the arm in hold: its servos keep their last targets."""
