"""Three axes that share norm bounds: how the bounds are dealt out, and one period of motion.

Each tick plans the time-optimal way of every axis to the moving target and takes the plan's first
period. Axis i may use ``share[i]`` of each bound and the squares of the shares sum to one, so the
norms hold whatever the axes do. Shares move towards where time is lost, and only when the whole
motion then ends sooner and no axis leaves its part: the remaining time falls by at least one period
per tick, which is what makes a target that rests be reached. A move from rest gets shares along its
direction: a straight line, as fast as along an axis.
"""

from libc.math cimport fabs, sqrt

from dvla.bindings.profiles cimport AxisLimits, Profile, follow, plan_reach, plan_stop
from dvla.bindings.rotations cimport norm3

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
