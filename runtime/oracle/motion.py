"""How objects move when nothing touches them: straight on, ever slower, until they rest."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


class RollingMotion:
    """Straight motion under a constant deceleration.

    Args:
        position: (3,) now [m].
        velocity: (3,) now [m/s]; its vertical part is ignored.
        deceleration: what friction takes from the speed [m/s2].
    """

    def __init__(
        self,
        position: NDArray[np.float64],
        velocity: NDArray[np.float64],
        deceleration: float,
    ) -> None:
        self._position = np.array(position)
        self._speed = math.hypot(velocity[0], velocity[1])
        direction = np.array([velocity[0], velocity[1], 0.0])
        self._direction = direction / self._speed if self._speed > 1e-6 else np.zeros(3)
        self._deceleration = deceleration
        self._rest_s = self._speed / deceleration

    def position(self, after_s: float) -> NDArray[np.float64]:
        """Return where the object is ``after_s`` from now (3,) [m]."""
        t = min(after_s, self._rest_s)
        return self._position + self._direction * (self._speed * t - self._deceleration * t * t / 2)

    def velocity(self, after_s: float) -> NDArray[np.float64]:
        """Return how it moves ``after_s`` from now (3,) [m/s]."""
        speed = max(0.0, self._speed - self._deceleration * after_s)
        return self._direction * speed
