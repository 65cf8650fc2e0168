"""Inverse kinematics: one solver, in the gate that judges and in the driver that moves the arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.limits import JointLimits

if TYPE_CHECKING:
    from dvla.bindings import Chain

_LONGEST_STEP_S = 0.1
"""A command is played for so long; nobody owes an arm the way of a longer silence."""
_SHORTEST_STEP_S = 1e-4


def make_chain(limits: JointLimits) -> Chain:
    """Return the compiled kinematics whose solver stays inside the range less its margin."""
    from dvla.bindings import Chain

    geometry = limits.geometry
    capsules = [(float(c.link), c.radius_m, *c.start, *c.end) for c in geometry.capsules]
    return Chain(
        np.array(geometry.rows, np.float64),
        np.array(geometry.tool, np.float64),
        np.array(limits.lower) + limits.margin_rad,
        np.array(limits.upper) - limits.margin_rad,
        np.array(limits.acceleration),
        np.array(limits.jerk),
        np.array(geometry.posture, np.float64),
        geometry.turn_m_per_rad,
        np.array(capsules, np.float64).reshape(-1, 8),
        np.array(geometry.pairs, np.int64).reshape(-1, 2),
        np.array([(*p.normal, p.offset_m) for p in limits.planes], np.float64).reshape(-1, 4),
    )


class DifferentialIk:
    """Follows TCP setpoints with joint positions, within the limits of every joint.

    Each call is one step from the previous solution; setpoints that come at servo rate are
    millimetres apart, so that one is enough. No joint leaves its range, exceeds its speed, changes
    it faster than its acceleration, or that faster than its jerk. Where that is not enough to
    follow, the elbow's weak pull to its posture gives way first and then the pose: it is reached
    later, or not at all.

    Args:
        period_s: time between setpoints whose own times are not given.
        limits: of the arm's joints; it starts at their posture.
    """

    def __init__(self, period_s: float, limits: JointLimits) -> None:
        from dvla.bindings import FACTS

        self._chain = make_chain(limits)
        self._period_s = period_s
        self._speeds = np.array(limits.velocity, np.float64)
        self._facts = np.empty(FACTS)
        self.reset(np.array(limits.geometry.posture))

    def reset(self, q: NDArray[np.float64]) -> None:
        """Start from rest at joint positions (n,) [rad]."""
        self._q = np.array(q, np.float64)
        self._rates, self._owed = np.zeros((2, len(self._q))), np.zeros(6)
        self._last_ns: int | None = None

    @property
    def q(self) -> NDArray[np.float64]:
        """The solution so far (n,) [rad], a copy."""
        return self._q.copy()

    @property
    def velocity(self) -> NDArray[np.float64]:
        """The speeds of the last step (n,) [rad/s], a copy."""
        velocity: NDArray[np.float64] = self._rates[0].copy()
        return velocity

    def step(
        self, setpoint: NDArray[np.float64], now_ns: int | None = None
    ) -> tuple[NDArray[np.float64], float]:
        """Move the solution one step towards a setpoint.

        Args:
            setpoint: (8,); the gripper is ignored.
            now_ns: time of the call [ns], where it is known: of a host that calls late, or early
                after that, joints were under way for more or less than the period.

        Returns:
            Joint positions (n,) [rad] and the distance that is left to the setpoint [m].
        """
        step_s = self._period_s
        if now_ns is not None and self._last_ns is not None:
            step_s = min(max((now_ns - self._last_ns) * 1e-9, _SHORTEST_STEP_S), _LONGEST_STEP_S)
        self._last_ns = now_ns
        row = np.ascontiguousarray(setpoint, np.float64)
        self._chain.track(self._q, self._rates, self._owed, row, step_s, self._speeds, self._facts)
        return self.q, float(self._facts[0])
