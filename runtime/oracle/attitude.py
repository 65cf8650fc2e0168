"""How a hand is turned while it works: fingers down, leaning outwards where its wrist ends."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.pose import euler_from_quaternion, quaternion_from_euler
from dvla.runtime.rotation import rotate
from dvla.runtime.twin.wrist import WristLimit


class LeaningHand:
    """The yaw and the lean of a hand over the steps of a rollout.

    The hand leans in the vertical plane through the axis of the base and the TCP; its yaw is that
    of the hand stood upright again.

    Args:
        wrist: what makes it lean.
        rate: at which the lean may change [rad/s].
        position: (3,) of the commanded TCP [m].
        quaternion: (4,) of the commanded TCP, order w, x, y, z.
    """

    def __init__(
        self,
        wrist: WristLimit,
        rate: float,
        position: NDArray[np.float64],
        quaternion: NDArray[np.float64],
    ) -> None:
        self._wrist, self._rate = wrist, rate
        w, x, y, z = (float(part) for part in quaternion)
        azimuth = math.atan2(position[1], position[0])
        ahead = 2 * (x * z + w * y), 2 * (y * z - w * x)
        outwards = ahead[0] * math.cos(azimuth) + ahead[1] * math.sin(azimuth)
        self._lean = math.atan2(outwards, 2 * (x * x + y * y) - 1.0)
        upright = rotate(_about(azimuth, -self._lean), np.asarray(quaternion, np.float64))
        self.yaw = float(euler_from_quaternion(upright)[2])

    def euler(
        self, position: NDArray[np.float64], yaw: float, dt: float
    ) -> tuple[float, float, float]:
        """Return the attitude at the next position of the TCP: extrinsic xyz, rx near pi [rad].

        Args:
            position: (3,) [m].
            yaw: of the hand as if it were upright [rad].
            dt: since the attitude before [s].
        """
        x, y, z = (float(part) for part in position)
        wanted = self._wrist.lean(math.hypot(x, y), z)
        change = self._rate * dt
        self._lean += max(-change, min(change, wanted - self._lean))
        down = quaternion_from_euler(np.array([math.pi, 0.0, yaw]))
        rx, ry, rz = euler_from_quaternion(rotate(_about(math.atan2(y, x), self._lean), down))
        return float(rx) % (2 * math.pi), float(ry), float(rz)


def _about(azimuth: float, lean: float) -> NDArray[np.float64]:
    """Return the rotation vector that leans a hand outwards, away from the base."""
    return lean * np.array([math.sin(azimuth), -math.cos(azimuth), 0.0])
