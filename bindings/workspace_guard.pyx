"""Keeps a planner's targets so far inside a box that the arm can always stop inside it."""

from libc.math cimport isfinite

from dvla.bindings.motion cimport Motion
from dvla.bindings.rotations cimport norm3
from dvla.bindings.stopping cimport stop_s


cdef class WorkspaceGuard:
    """Keeps a planner's targets so far inside a box that the arm can always stop inside it.

    A target counts as outside when a stop from where the plan is would, added to it, lead out of
    the box. So the nearer and the faster, the earlier the plan slows down. The stop is the one that
    the arm's gate judges (``dvla.runtime.stopping``), from the hardest acceleration that a plan may
    have: a turn sideways makes every axis stop later. Where a turn leaves an axis too little to
    slow down with, and a stop would go past the box by more than the reserve, the plan brakes.

    Args:
        lower / upper: (3,) the box [m].
        reserve: how far past the box a stop may go before the plan brakes [m].
        acceleration / jerk: of the stop [m/s2, m/s3].
        hardest: acceleration of a plan, below that of the stop [m/s2]; ``plan_jerk`` its jerk.
    """

    def __init__(
        self, const double[::1] lower not None, const double[::1] upper not None, *,
        double reserve, double acceleration, double jerk, double hardest,
        double plan_jerk,
    ):
        if lower.shape[0] != 3 or upper.shape[0] != 3:
            raise ValueError("lower and upper: expected (3,)")
        for k in range(3):
            if not (isfinite(lower[k]) and isfinite(upper[k]) and lower[k] <= upper[k]):
                raise ValueError(f"axis {k} of the box: got {lower[k]} to {upper[k]}")
            self._lower[k] = lower[k]
            self._upper[k] = upper[k]
        if not reserve >= 0.0:
            raise ValueError(f"reserve: got {reserve}, expected at least 0")
        self._reserve = reserve
        if not (acceleration > 0.0 and jerk > 0.0 and 0.0 < hardest <= acceleration):
            raise ValueError(
                f"bounds: got acceleration {acceleration}, jerk {jerk}, hardest {hardest}"
            )
        if not plan_jerk > 0.0:
            raise ValueError(f"plan_jerk: got {plan_jerk}, expected above 0")
        self._plan_jerk = plan_jerk
        self._jerk = jerk
        self._hardest = hardest
        self._acceleration = acceleration

    cdef int lead_inside(
        self, const double *position, const Motion *motion, double *target, double *twist
    ) noexcept nogil:
        """Move a target inside, and take what leads out of its twist; return WORKSPACE_* bits."""
        cdef double speed = norm3(motion.velocity)
        cdef double duration_s = 1.05 * stop_s(
            speed, self._hardest, self._acceleration, self._jerk
        )
        cdef double lag_s = self._lag_s(motion, speed)
        cdef double v, pushing, low, high
        cdef int bits = 0
        cdef int k
        for k in range(3):
            v = motion.velocity[k]
            pushing = motion.acceleration[k] * duration_s * duration_s / 12.0
            low = self._lower[k] - min(v * duration_s / 2.0, 0.0) - min(pushing, 0.0)
            high = self._upper[k] - max(v * duration_s / 2.0, 0.0) - max(pushing, 0.0)
            if target[k] < low or target[k] > high:
                target[k] = max(min(target[k], high), low)
                twist[k] = 0.0
                bits |= WORKSPACE_BIT
            if (v < 0.0 and position[k] + v * lag_s < low - self._reserve) or (
                v > 0.0 and position[k] + v * lag_s > high + self._reserve
            ):
                bits |= WORKSPACE_BIT | BRAKE_BIT
        return bits

    cdef double _lag_s(self, const Motion *motion, double speed) noexcept nogil:
        """Return how long a plan takes until it brakes as hard as it may."""
        cdef double change[3]
        cdef int k
        if not speed > 0.0:
            return 0.0
        for k in range(3):
            change[k] = motion.acceleration[k] + self._hardest * motion.velocity[k] / speed
        return norm3(change) / self._plan_jerk
