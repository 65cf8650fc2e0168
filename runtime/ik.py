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
_BRAKE_SHARE = 0.8
"""Of a joint's acceleration: the rest is for the path, which bends while the joint brakes."""


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
        _BRAKE_SHARE * np.array(limits.acceleration),
        np.array(geometry.posture, np.float64),
        geometry.turn_m_per_rad,
        np.array(capsules, np.float64).reshape(-1, 8),
        np.array(geometry.pairs, np.int64).reshape(-1, 2),
        np.array([(*p.normal, p.offset_m) for p in limits.planes], np.float64).reshape(-1, 4),
    )


class DifferentialIk:
    """Follows TCP setpoints with joint positions, within range and speed of every joint.

    Each call is one step from the previous solution; setpoints that come at servo rate are
    millimetres apart, so that one is enough. Where the joints cannot do both, the elbow's weak pull
    to its posture gives way first and then the pose: it is reached later, or not at all.

    Args:
        period_s: time between setpoints; with the joint speeds it bounds a step.
        limits: of the arm's joints; it starts at their posture.
    """

    def __init__(self, period_s: float, limits: JointLimits) -> None:
        from dvla.bindings import FACTS

        self._chain = make_chain(limits)
        self._period_s = period_s
        self._speeds = np.array(limits.velocity, np.float64)
        self._facts = np.empty((1, FACTS))
        self._next = np.empty((1, self._chain.joints))
        self.reset(np.array(limits.geometry.posture))

    def reset(self, q: NDArray[np.float64]) -> None:
        """Start from joint positions (n,) [rad]."""
        self._q = np.array(q, np.float64)

    @property
    def q(self) -> NDArray[np.float64]:
        """The solution so far (n,) [rad], a copy."""
        return self._q.copy()

    def step(
        self, setpoint: NDArray[np.float64], elapsed_s: float = 0.0
    ) -> tuple[NDArray[np.float64], float]:
        """Move the solution one step towards a setpoint.

        Args:
            setpoint: (8,); the gripper is ignored.
            elapsed_s: since the last step, where it was longer than the period: joints may move
                for as long.

        Returns:
            Joint positions (n,) [rad] and the distance that is left to the setpoint [m].
        """
        step_s = min(max(self._period_s, elapsed_s), _LONGEST_STEP_S)
        row = np.ascontiguousarray(setpoint, np.float64)[None]
        self._chain.follow(self._q, row, self._next, self._facts, 1, step_s, self._speeds)
        self._q[:] = self._next[0]
        return self.q, float(self._facts[0, 0])
