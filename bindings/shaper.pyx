"""Velocity-, acceleration- and jerk-limited tracking of setpoints, with a state of its own.

Each tick plans the time-optimal way of every axis to the moving target and takes the plan's first
period. The norm bounds are shared out among the axes: axis i may use ``share[i]`` of each bound and
the squares of the shares sum to one, so the norms hold whatever the axes do. Shares move towards
where time is lost, and only when the whole motion then ends sooner and no axis leaves its part: the
remaining time falls by at least one period per tick, which is what makes a target that rests be
reached. A move from rest gets shares along its direction: a straight line, as fast as along an axis.

Rotations use the same code on the rotation vector to the target, base frame.
"""

import numpy as np

from libc.math cimport fabs, isfinite, sqrt

from dvla.bindings.profiles cimport AxisLimits, Profile, follow, plan_reach, plan_stop
from dvla.bindings.rotations cimport norm3, rotate_by, rotation_between

cdef double LEAST_SHARE = 0.05  # before normalising: an idle axis can always begin to move
cdef double REACHED = 1e-5  # [m, rad] a target left farther behind than this counts as saturated


cdef void normalise_shares(double *share) noexcept nogil:
    cdef double largest = max(max(share[0], share[1]), share[2])
    cdef double length
    cdef int i
    if not largest > 0.0:
        largest = 1.0
    for i in range(3):
        share[i] = max(share[i] / largest, LEAST_SHARE)
    length = norm3(share)
    for i in range(3):
        share[i] /= length


cdef double needed_share(double velocity, double acceleration, const Bounds *bounds) noexcept nogil:
    """The least share that an axis can keep: now, and when its acceleration ramps to zero."""
    cdef double swing = acceleration * fabs(acceleration) / (2.0 * bounds.jerk)
    cdef double along = fabs(velocity) if velocity * swing >= 0.0 else -fabs(velocity)
    cdef double later = (
        along + sqrt(velocity * velocity + 4.0 * bounds.velocity * fabs(swing))
    ) / (2.0 * bounds.velocity)
    return max(
        max(fabs(acceleration) / bounds.acceleration, fabs(velocity) / bounds.velocity), later
    )


cdef void move_shares(const Motion *motion, const Bounds *bounds, double *share) noexcept nogil:
    """Pull the wanted shares back towards the present ones until every axis fits in its part."""
    cdef double most = 1.0
    cdef double have, want, need
    cdef int i
    normalise_shares(share)
    for i in range(3):
        need = needed_share(motion.velocity[i], motion.acceleration[i], bounds)
        if share[i] < need:
            have = motion.share[i] * motion.share[i]
            want = share[i] * share[i]
            most = min(most, max((have - need * need) / max(have - want, 1e-12), 0.0))
    for i in range(3):
        have = motion.share[i] * motion.share[i]
        want = share[i] * share[i]
        share[i] = sqrt(have + most * (want - have))


cdef struct Goal:
    bint stop
    double distance[3]  # to the target, less what it moves in this tick
    double velocity[3]  # of the target at the end of this tick
    double acceleration[3]


cdef struct Plan:
    Profile axis[3]
    double share[3]
    double time_s[3]
    double target_velocity[3]
    double target_acceleration[3]
    double worst_s
    bint comfortable


cdef void plan_axes(
    const Motion *motion, const Goal *goal, const Bounds *bounds, double period_s, Plan *plan
) noexcept nogil:
    """Plan every axis within its share; ``plan.share`` is given."""
    cdef AxisLimits limits
    cdef double part, vt, at, excess, crowding
    cdef int i
    plan.worst_s = 0.0
    plan.comfortable = True
    for i in range(3):
        part = plan.share[i]
        vt = max(min(goal.velocity[i], part * bounds.velocity), -part * bounds.velocity)
        excess = fabs(goal.velocity[i] - vt) / bounds.velocity
        at = goal.acceleration[i] if excess == 0.0 else 0.0
        at = max(min(at, 0.9 * part * bounds.acceleration), -0.9 * part * bounds.acceleration)
        limits.jerk = part * bounds.jerk
        limits.acceleration_up = part * bounds.acceleration - at
        limits.acceleration_down = part * bounds.acceleration + at
        limits.velocity_up = max(part * bounds.velocity - vt, 0.0)
        limits.velocity_down = max(part * bounds.velocity + vt, 0.0)
        plan.target_velocity[i] = vt
        plan.target_acceleration[i] = at
        if goal.stop:
            plan_stop(motion.velocity[i], motion.acceleration[i], &limits, &plan.axis[i])
        else:
            plan_reach(
                goal.distance[i] + 0.5 * at * period_s * period_s,
                motion.velocity[i] - vt + at * period_s,
                motion.acceleration[i] - at,
                &limits,
                &plan.axis[i],
            )
        # A target faster than the axis' part is never caught, and one that comes close to it leaves
        # nothing to correct with: shares must move in time.
        plan.time_s[i] = plan.axis[i].duration_s + 10.0 * excess
        crowding = needed_share(goal.velocity[i], goal.acceleration[i], bounds) / part - 0.9
        if crowding > 0.0:
            plan.time_s[i] += crowding * period_s
            plan.comfortable = False
        plan.worst_s = max(plan.worst_s, plan.time_s[i])
    if plan.worst_s > period_s:
        plan.comfortable = False


cdef void wanted_shares(
    const Motion *motion, const Goal *goal, const Bounds *bounds, double patience_s, double *share
) noexcept nogil:
    """What the target's motion needs, and the rest along the way to it."""
    cdef double way[3]
    cdef double taken = 0.0
    cdef double length
    cdef double scale
    cdef int i
    for i in range(3):
        share[i] = 1.1 * needed_share(goal.velocity[i], goal.acceleration[i], bounds)
        share[i] *= share[i]
        taken += share[i]
        way[i] = motion.velocity[i]
        if not goal.stop:
            way[i] = goal.velocity[i] + goal.distance[i] / patience_s
    length = norm3(way)
    scale = max(1.0 - taken, 0.0) / (length * length) if length > 0.0 else 0.0
    for i in range(3):
        share[i] = sqrt(share[i] + scale * way[i] * way[i])


cdef void choose_plan(
    const Motion *motion, const Goal *goal, const Bounds *bounds, double period_s, Plan *best
) noexcept nogil:
    """Plan with the present shares, and with better ones when there is time to win."""
    cdef Plan other
    cdef Plan present
    cdef double patience_s
    cdef int i, attempt
    for i in range(3):
        present.share[i] = motion.share[i]
    plan_axes(motion, goal, bounds, period_s, &present)
    best[0] = present
    if present.comfortable:
        return
    patience_s = max(min(present.worst_s, 10.0), period_s)
    for attempt in range(2):
        if attempt == 0:
            wanted_shares(motion, goal, bounds, patience_s, other.share)
        else:  # towards the axes that take longest
            for i in range(3):
                other.share[i] = motion.share[i] * present.time_s[i]
        move_shares(motion, bounds, other.share)
        plan_axes(motion, goal, bounds, period_s, &other)
        if other.worst_s < best.worst_s - 1e-9:
            best[0] = other


cdef void take_first_period(
    const Motion *motion, const Goal *goal, const Plan *plan, double period_s, Motion *after,
    double *moved
) noexcept nogil:
    """Advance three axes by the first period of their plans, back in the base frame."""
    cdef double v, a, p, vt, at
    cdef int i
    for i in range(3):
        vt = plan.target_velocity[i]
        at = plan.target_acceleration[i]
        v = motion.velocity[i] - vt + at * period_s
        a = motion.acceleration[i] - at
        p = 0.0
        follow(&plan.axis[i], period_s, &p, &v, &a)
        if plan.axis[i].duration_s <= period_s:  # there: no rounding is left to creep
            v = 0.0
            a = 0.0
            if not goal.stop:
                p = goal.distance[i] + 0.5 * at * period_s * period_s
        moved[i] = p + (vt - 0.5 * at * period_s) * period_s
        after.velocity[i] = v + vt
        after.acceleration[i] = a + at
        after.share[i] = plan.share[i]


cdef bint fits(const Motion *motion, const Bounds *bounds) noexcept nogil:
    """True when every axis can stay within its part for ever."""
    cdef int i
    for i in range(3):
        if needed_share(motion.velocity[i], motion.acceleration[i], bounds) > motion.share[i] * (
            1.0 + 1e-12
        ):
            return False
    return True


cdef int saturation(const Motion *motion, const Plan *plan, const Bounds *bounds) noexcept nogil:
    """Say which bounds the axes that are not there yet run at."""
    cdef int bits = 0
    cdef int i
    for i in range(3):
        if plan.time_s[i] <= 0.0:
            continue
        if fabs(motion.velocity[i]) >= 0.999 * motion.share[i] * bounds.velocity:
            bits |= VELOCITY_BIT
        elif fabs(motion.acceleration[i]) >= 0.999 * motion.share[i] * bounds.acceleration:
            bits |= ACCELERATION_BIT
        else:
            bits |= JERK_BIT
    return bits


cdef int advance(
    Motion *motion, Goal *goal, const Bounds *bounds, double period_s, double *moved
) noexcept nogil:
    """Advance three axes by one period; return the bits of what kept them from the target."""
    cdef Plan plan
    cdef Motion after = motion[0]
    cdef double behind[3]
    cdef int i
    choose_plan(motion, goal, bounds, period_s, &plan)
    take_first_period(motion, goal, &plan, period_s, &after, moved)
    if not fits(&after, bounds):
        # The target's acceleration would carry an axis out of its part: plan without it.
        for i in range(3):
            goal.acceleration[i] = 0.0
        choose_plan(motion, goal, bounds, period_s, &plan)
        take_first_period(motion, goal, &plan, period_s, &after, moved)
    motion[0] = after
    if goal.stop:
        return 0
    for i in range(3):
        behind[i] = goal.distance[i] + goal.velocity[i] * period_s - moved[i]
    return saturation(motion, &plan, bounds) if norm3(behind) > REACHED else 0


cdef void set_goal(
    Motion *motion, const double *distance, const double *velocity, const Bounds *bounds,
    double period_s, Goal *goal
) noexcept nogil:
    """Describe a moving target; its acceleration is the change of its velocity, when plausible."""
    cdef double speed = norm3(velocity)
    cdef double scale = 1.0 if speed <= bounds.velocity else bounds.velocity / speed
    cdef int i
    goal.stop = False
    for i in range(3):
        goal.velocity[i] = velocity[i] * scale
        goal.distance[i] = distance[i] - goal.velocity[i] * period_s
        goal.acceleration[i] = (goal.velocity[i] - motion.target_velocity[i]) / period_s
    if not motion.target_known or norm3(goal.acceleration) > bounds.acceleration:
        for i in range(3):
            goal.acceleration[i] = 0.0
    for i in range(3):
        motion.target_velocity[i] = goal.velocity[i]
    motion.target_known = True


cdef void rest(Motion *motion) noexcept nogil:
    cdef int i
    for i in range(3):
        motion.velocity[i] = 0.0
        motion.acceleration[i] = 0.0
        motion.share[i] = 1.0 / sqrt(3.0)
        motion.target_velocity[i] = 0.0
    motion.target_known = False


cdef bint resting(const Motion *motion) noexcept nogil:
    return norm3(motion.velocity) == 0.0 and norm3(motion.acceleration) == 0.0


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
        self._linear.velocity = limits.linear_velocity
        self._linear.acceleration = limits.linear_acceleration
        self._linear.jerk = limits.linear_jerk
        self._angular.velocity = limits.angular_velocity
        self._angular.acceleration = limits.angular_acceleration
        self._angular.jerk = limits.angular_jerk
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
