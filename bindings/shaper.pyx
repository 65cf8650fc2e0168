"""Velocity-, acceleration- and jerk-limited tracking of setpoints, with a state of its own.

Positions and rotations are moved by the same code: rotations as the rotation vector to the target,
in the base frame.
"""

import numpy as np

from libc.math cimport fabs, isfinite, sqrt

from dvla.bindings.motion cimport (
    ACCELERATION_BIT,
    JERK_BIT,
    VELOCITY_BIT,
    Goal,
    advance,
    rest,
    resting,
    set_goal,
)
from dvla.bindings.rotations cimport norm3, rotate_by, rotation_between


cdef class ShaperLimits:
    """Norm bounds of what the shaper emits: linear [m/s, m/s2, m/s3], angular [rad/s ...]."""

    def __init__(
        self,
        *,
        double linear_velocity,
        double linear_acceleration,
        double linear_jerk,
        double angular_velocity,
        double angular_acceleration,
        double angular_jerk,
    ):
        self.linear_velocity = linear_velocity
        self.linear_acceleration = linear_acceleration
        self.linear_jerk = linear_jerk
        self.angular_velocity = angular_velocity
        self.angular_acceleration = angular_acceleration
        self.angular_jerk = angular_jerk
        for name in LIMIT_NAMES:
            value = getattr(self, name)
            if not (isfinite(value) and value > 0.0):
                raise ValueError(f"{name}: got {value}, expected a finite number above 0")


cdef tuple LIMIT_NAMES = (
    "linear_velocity", "linear_acceleration", "linear_jerk",
    "angular_velocity", "angular_acceleration", "angular_jerk",
)


cdef int check_setpoint(const double[::1] setpoint, str name) except -1:
    cdef double square = 0.0
    cdef Py_ssize_t i
    if setpoint.shape[0] != 8:
        raise ValueError(f"{name}: got shape ({setpoint.shape[0]},), expected (8,)")
    for i in range(8):
        if not isfinite(setpoint[i]):
            raise ValueError(f"{name}: entry {i} is not finite")
        if 3 <= i < 7:
            square += setpoint[i] * setpoint[i]
    if fabs(sqrt(square) - 1.0) > 1e-3:
        raise ValueError(f"{name}: quaternion has norm {sqrt(square):.6g}, expected 1")
    return 0


cdef int check_output(const double[::1] out) except -1:
    if out.shape[0] != 8:
        raise ValueError(f"setpoint_out: got shape ({out.shape[0]},), expected (8,)")
    return 0


cdef class PoseShaper:
    """Velocity-, acceleration- and jerk-limited tracking of setpoints, with a state of its own.

    At every tick |v|, |a| and the mean |jerk| over the period obey the norm bounds, from any state
    it can reach and for any sequence of targets; so do the finite differences of what it emits.

    Args:
        limits: the norm bounds.
        period_s: spacing of the setpoints [s].
    """

    SATURATED_VELOCITY = VELOCITY_BIT
    SATURATED_ACCELERATION = ACCELERATION_BIT
    SATURATED_JERK = JERK_BIT

    def __init__(self, ShaperLimits limits not None, double period_s):
        if not (isfinite(period_s) and 1e-4 <= period_s <= 1.0):
            raise ValueError(f"period_s: got {period_s}, expected 0.0001 to 1")
        self.period_s = period_s
        self._limits = limits
        self.take(1.0)
        cdef double identity[8]
        for i in range(8):
            identity[i] = 1.0 if i == 3 else 0.0
        self.reset_nogil(identity)

    cdef void reset_nogil(self, const double *setpoint) noexcept nogil:
        cdef double still[3]
        cdef int i
        for i in range(8):
            self.state.setpoint[i] = setpoint[i]
        for i in range(3):
            still[i] = 0.0
        rotate_by(still, &self.state.setpoint[3], &self.state.setpoint[3])  # normalises
        rest(&self.state.linear)
        rest(&self.state.angular)

    cdef int step_nogil(
        self, ShaperState *state, const double *target, const double *twist
    ) noexcept nogil:
        """Advance one period towards where the target is at the end of it."""
        cdef Goal goal
        cdef double offset[3]
        cdef double moved[3]
        cdef int bits
        cdef int i
        for i in range(3):
            offset[i] = target[i] - state.setpoint[i]
        set_goal(&state.linear, offset, &twist[0], &self._linear, self.period_s, &goal)
        bits = advance(&state.linear, &goal, &self._linear, self.period_s, moved)
        for i in range(3):
            state.setpoint[i] += moved[i]
        rotation_between(&state.setpoint[3], &target[3], offset)
        set_goal(&state.angular, offset, &twist[3], &self._angular, self.period_s, &goal)
        bits |= advance(&state.angular, &goal, &self._angular, self.period_s, moved)
        if norm3(moved) > 0.0:  # at rest the quaternion must not dither by rounding
            rotate_by(moved, &state.setpoint[3], &state.setpoint[3])
        state.setpoint[7] = target[7]
        return bits

    cdef bint stop_nogil(self, ShaperState *state) noexcept nogil:
        """Advance one period of the fastest stop; True once at rest."""
        cdef Goal goal
        cdef double moved[3]
        cdef int i
        goal.stop = True
        for i in range(3):
            goal.distance[i] = 0.0
            goal.velocity[i] = 0.0
            goal.acceleration[i] = 0.0
        advance(&state.linear, &goal, &self._linear, self.period_s, moved)
        for i in range(3):
            state.setpoint[i] += moved[i]
        advance(&state.angular, &goal, &self._angular, self.period_s, moved)
        if norm3(moved) > 0.0:  # at rest the quaternion must not dither by rounding
            rotate_by(moved, &state.setpoint[3], &state.setpoint[3])
        state.linear.target_known = False
        state.angular.target_known = False
        return resting(&state.linear) and resting(&state.angular)

    def take(self, double share):
        """Keep a share of all bounds from here on; the state has to keep it already.

        Args:
            share: above 0, at most 1.
        """
        cdef ShaperLimits limits = self._limits
        if not 0.0 < share <= 1.0:
            raise ValueError(f"share: got {share}, expected above 0, at most 1")
        self.share = share
        self._linear.velocity = share * limits.linear_velocity
        self._linear.acceleration = share * limits.linear_acceleration
        self._linear.jerk = share * limits.linear_jerk
        self._angular.velocity = share * limits.angular_velocity
        self._angular.acceleration = share * limits.angular_acceleration
        self._angular.jerk = share * limits.angular_jerk

    def reset(self, const double[::1] setpoint not None):
        """Rest at a setpoint (8,), whatever was before."""
        check_setpoint(setpoint, "setpoint")
        self.reset_nogil(&setpoint[0])

    def step(
        self,
        const double[::1] target not None,
        const double[::1] target_twist not None,
        double[::1] setpoint_out not None,
    ):
        """Advance one period towards a moving target.

        Args:
            target: (8,) where the target is at the end of this period.
            target_twist: (6,) its velocity there [m/s, rad/s], base frame.
            setpoint_out: (8,) is written: where to be at the end of this period.

        Returns:
            SATURATED_* bits of the bounds that keep the setpoint from the target; 0 when there.
        """
        check_setpoint(target, "target")
        check_output(setpoint_out)
        cdef Py_ssize_t i
        if target_twist.shape[0] != 6:
            raise ValueError(f"target_twist: got shape ({target_twist.shape[0]},), expected (6,)")
        for i in range(6):
            if not isfinite(target_twist[i]):
                raise ValueError(f"target_twist: entry {i} is not finite")
        bits = self.step_nogil(&self.state, &target[0], &target_twist[0])
        for i in range(8):
            setpoint_out[i] = self.state.setpoint[i]
        return bits

    def stop_step(self, double[::1] setpoint_out not None):
        """Advance one period of the fastest jerk-limited stop.

        Args:
            setpoint_out: (8,) is written.

        Returns:
            True once at rest.
        """
        cdef Py_ssize_t i
        check_output(setpoint_out)
        resting_now = self.stop_nogil(&self.state)
        for i in range(8):
            setpoint_out[i] = self.state.setpoint[i]
        return resting_now

    @property
    def setpoint(self):
        """The last setpoint (8,), a copy."""
        return np.array([self.state.setpoint[i] for i in range(8)])

    @property
    def twist(self):
        """Velocity (6,) [m/s, rad/s], base frame, a copy."""
        return np.array(
            [self.state.linear.velocity[i] for i in range(3)]
            + [self.state.angular.velocity[i] for i in range(3)]
        )

    @property
    def acceleration(self):
        """Acceleration (6,) [m/s2, rad/s2], base frame, a copy."""
        return np.array(
            [self.state.linear.acceleration[i] for i in range(3)]
            + [self.state.angular.acceleration[i] for i in range(3)]
        )

    def copy_state_from(self, PoseShaper other not None):
        """Take over the state of another shaper (not its limits)."""
        self.state = other.state
