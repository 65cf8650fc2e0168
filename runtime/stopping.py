"""The jerk-limited stop: one closed-form trajectory that the gate checks and the arm plays.

From velocity v0 and acceleration a0, over a duration D and with s = t / D, the stop is the cubic

    v(s) = v0 (1 - 3 s^2 + 2 s^3) + a0 D (s - 2 s^2 + s^3)

It starts with exactly the motion that the arm has, and ends at rest without acceleration. Its path
is ``v0 D c1(s) + a0 D^2 c2(s)``, where c1 rises from 0 to 1/2 and c2 from 0 to 1/12: so each axis
stays within the box that those two numbers span, which is what the gate needs. Translation and
rotation stop with a duration of their own each; a rotation is the same curve of rotation vectors
about the pose where the stop began.
"""

from __future__ import annotations

import numpy as np

from dvla.runtime.limits import CartesianLimits
from dvla.runtime.pose import SETPOINT_WIDTH, Float64
from dvla.runtime.rotation import rotate

PATH_C1_END = 1.0 / 2.0
PATH_C2_END = 1.0 / 12.0
_SHARE_FOR_STOPS = np.array([1.0, 0.85])
"""Share of the acceleration bound that a stop plans with. Rotation vectors add up only to first
order; over the quarter radian of a stop, the second order costs up to an eighth of the bound."""
_PEAK_S = np.linspace(0.0, 1.0, 17)
_PEAK_F = 1.0 - 3.0 * _PEAK_S**2 + 2.0 * _PEAK_S**3
_PEAK_G = _PEAK_S * (1.0 - _PEAK_S) ** 2


def limits_by_order(limits: CartesianLimits) -> Float64:
    """Return the limits as (3, 2): velocity, acceleration, jerk of translation and rotation."""
    return np.array(
        [
            [limits.linear_velocity, limits.angular_velocity],
            [limits.linear_acceleration, limits.angular_acceleration],
            [limits.linear_jerk, limits.angular_jerk],
        ]
    )


def stop_duration(speed: Float64, acceleration: Float64, limits: Float64) -> Float64:
    """Return the shortest duration for which the stop keeps its acceleration and jerk bounds.

    Both bounds add the norms of the two terms of the cubic, so they hold for every angle between
    velocity and acceleration. With c = 6 |v0| / D and A, J the limits, the acceleration peaks at
    (c + 2 |a0|)^2 / (4 (c + 3 |a0|)), and the jerk at 6 |v0| / D^2 + 4 |a0| / D.

    Args:
        speed: (..., 2) |v0| of translation and rotation [m/s, rad/s].
        acceleration: (..., 2) |a0| [m/s2, rad/s2], at most the limit.
        limits: (3, 2) from ``limits_by_order``.

    Returns:
        (..., 2) [s].
    """
    bound, jerk = limits[1] * _SHARE_FOR_STOPS, limits[2]
    steepest = 2.0 * (bound - acceleration) + 2.0 * np.sqrt(bound * (bound + acceleration))
    by_acceleration = 6.0 * speed / np.maximum(steepest, 1e-9)
    root = np.sqrt(16.0 * acceleration**2 + 24.0 * speed * jerk)
    by_jerk = (4.0 * acceleration + root) / (2.0 * jerk)
    duration: Float64 = np.maximum(by_acceleration, by_jerk)
    return duration


def stop_peak_speed(velocity: Float64, acceleration: Float64, duration: Float64) -> Float64:
    """Return the highest speed during stops: an arm that still accelerates gets faster first.

    Args:
        velocity: (n, 2, 3); acceleration: (n, 2, 3); duration: (n, 2).

    Returns:
        (n, 2) [m/s, rad/s].
    """
    vv = np.einsum("nij,nij->ni", velocity, velocity)[..., None]
    va = (np.einsum("nij,nij->ni", velocity, acceleration) * duration)[..., None]
    aa = (np.einsum("nij,nij->ni", acceleration, acceleration) * duration**2)[..., None]
    squared = vv * _PEAK_F**2 + 2.0 * va * (_PEAK_F * _PEAK_G) + aa * _PEAK_G**2
    peak: Float64 = np.sqrt(squared.max(axis=-1))
    return peak


class StopMotion:
    """One stop of the arm, from the motion that it was commanded to have.

    Args:
        setpoint: (8,) commanded at ``start_ns``.
        twist: (6,) commanded velocity then [m/s, rad/s].
        acceleration: (6,) commanded acceleration then [m/s2, rad/s2].
        start_ns: when the stop begins.
        limits: the envelope.
    """

    def __init__(
        self,
        setpoint: Float64,
        twist: Float64,
        acceleration: Float64,
        start_ns: int,
        limits: CartesianLimits,
    ) -> None:
        self._setpoint = setpoint.copy()
        self._velocity = twist.reshape(2, 3).copy()
        self._acceleration = acceleration.reshape(2, 3).copy()
        self._start_ns = start_ns
        speed = np.sqrt(np.sum(self._velocity**2, axis=-1))
        change = np.sqrt(np.sum(self._acceleration**2, axis=-1))
        self._duration_s = stop_duration(speed, change, limits_by_order(limits))

    @property
    def end_ns(self) -> int:
        """When the arm is commanded to be at rest [ns]."""
        return self._start_ns + int(float(self._duration_s.max()) * 1e9) + 1

    def evaluate(self, now_ns: int, setpoint_out: Float64) -> None:
        """Write the setpoint (8,) of the stop at ``now_ns``; after its end, the pose of rest."""
        elapsed_s = max(0, now_ns - self._start_ns) * 1e-9
        duration = self._duration_s
        s = np.minimum(elapsed_s / np.maximum(duration, 1e-9), 1.0)
        c1 = duration * (s - s**3 + 0.5 * s**4)
        c2 = duration**2 * (0.5 * s**2 - (2.0 / 3.0) * s**3 + 0.25 * s**4)
        path = self._velocity * c1[:, None] + self._acceleration * c2[:, None]
        setpoint_out[:SETPOINT_WIDTH] = self._setpoint
        setpoint_out[:3] += path[0]
        setpoint_out[3:7] = rotate(path[1], self._setpoint[3:7])
