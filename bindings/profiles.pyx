"""Time-optimal motion of one axis under velocity, acceleration and jerk limits.

Everything is relative to the target: it lies at ``distance``, at rest, so the plan ends with
velocity and acceleration zero. A plan is at most seven segments of constant jerk.

*Stop* is the fastest way to velocity zero. If stopping right now would end short of the target, the
best plan is to push towards it at full jerk (then at full acceleration) for some time and stop from
there; where the stop would end grows with the time pushed, so that time is one bracketed root. If
it would end beyond, the same holds mirrored. A plan that was begun is still the best plan one tick
later, so that planning afresh at every tick follows it to the end.
"""

from libc.math cimport cbrt, fabs, sqrt

cdef double NEVER_S = 1e6  # a target that runs away at the velocity limit is not caught
cdef int MAX_ITERATIONS = 60
cdef double TOLERANCE = 1e-14  # [m] or [rad], far below what any arm resolves


cdef inline void add(Profile *profile, double dt, double jerk) noexcept nogil:
    if dt > 0.0 and profile.count < MAX_SEGMENTS:
        profile.dt[profile.count] = dt
        profile.jerk[profile.count] = jerk
        profile.count += 1
        profile.duration_s += dt


cdef void append_stop(
    double velocity, double acceleration, double up, double down, double jerk, Profile *profile
) noexcept nogil:
    """Append the fastest way to velocity and acceleration zero: ramp, hold, ramp back."""
    # Ramping the acceleration to zero now would leave this velocity; the stop works against it.
    cdef double left = velocity + acceleration * fabs(acceleration) / (2.0 * jerk)
    cdef double sign = 1.0 if left < 0.0 else -1.0
    cdef double bound = up if sign > 0.0 else down
    cdef double start = sign * acceleration
    cdef double change = -sign * velocity
    cdef double peak = sqrt(max(jerk * change + 0.5 * start * start, 0.0))
    cdef double hold = 0.0
    if peak > bound:
        peak = bound
        hold = (change - (2.0 * peak * peak - start * start) / (2.0 * jerk)) / peak
    add(profile, (peak - start) / jerk, sign * jerk)
    add(profile, hold, 0.0)
    add(profile, peak / jerk, -sign * jerk)


cdef void plan_stop(
    double velocity, double acceleration, const AxisLimits *limits, Profile *profile
) noexcept nogil:
    """Plan the fastest stop."""
    profile.count = 0
    profile.duration_s = 0.0
    append_stop(
        velocity, acceleration, limits.acceleration_up, limits.acceleration_down, limits.jerk,
        profile,
    )


cdef void follow(
    const Profile *profile, double time_s, double *position, double *velocity, double *acceleration
) noexcept nogil:
    """Advance a state along a plan; past its end the state keeps its velocity, zero."""
    cdef double p = position[0]
    cdef double v = velocity[0]
    cdef double a = acceleration[0]
    cdef double left = time_s
    cdef double dt, jerk
    cdef int i
    for i in range(profile.count):
        dt = min(profile.dt[i], left)
        jerk = profile.jerk[i]
        p += dt * (v + dt * (0.5 * a + dt * jerk / 6.0))
        v += dt * (a + 0.5 * dt * jerk)
        a += dt * jerk
        left -= dt
        if left <= 0.0:
            break
    position[0] = p
    velocity[0] = v
    acceleration[0] = a


cdef struct Push:  # the mirrored problem: the target lies ahead of where a stop would end
    double velocity
    double acceleration
    double sign
    double ahead  # acceleration limit towards the target
    double up
    double down
    double jerk


cdef double pushed(const Push *push, double time_s, Profile *profile) noexcept nogil:
    """Plan to push for a time, then stop; return where that ends, towards the target."""
    cdef double rise = min(time_s, max((push.ahead - push.acceleration) / push.jerk, 0.0))
    cdef double hold = time_s - rise
    cdef double a = push.acceleration + push.jerk * rise
    cdef double v = push.velocity + rise * (push.acceleration + 0.5 * push.jerk * rise) + a * hold
    cdef double p = 0.0
    cdef double v_end = push.sign * push.velocity
    cdef double a_end = push.sign * push.acceleration
    profile.count = 0
    profile.duration_s = 0.0
    add(profile, rise, push.sign * push.jerk)
    add(profile, hold, 0.0)
    append_stop(push.sign * v, push.sign * a, push.up, push.down, push.jerk, profile)
    follow(profile, profile.duration_s, &p, &v_end, &a_end)
    return push.sign * p


cdef double longest_push(const Push *push, double v_limit) noexcept nogil:
    """Return the time after which ramping the acceleration to zero just meets the limit."""
    cdef double head = push.jerk * (v_limit - push.velocity)
    cdef double square = 0.5 * push.acceleration * push.acceleration
    cdef double peak = sqrt(max(head + square, 0.0))
    cdef double hold = 0.0
    if peak > push.ahead:
        peak = push.ahead
        hold = (head + square - peak * peak) / (push.jerk * peak)
    return max((peak - push.acceleration) / push.jerk, 0.0) + max(hold, 0.0)


cdef void cruise(
    const Push *push, double time_s, double v_limit, double wait_s, Profile *profile
) noexcept nogil:
    """Plan to push to the velocity limit, stay there for a time, and stop."""
    cdef double rise = min(time_s, max((push.ahead - push.acceleration) / push.jerk, 0.0))
    cdef double a = push.acceleration + push.jerk * rise
    profile.count = 0
    profile.duration_s = 0.0
    add(profile, rise, push.sign * push.jerk)
    add(profile, time_s - rise, 0.0)
    add(profile, a / push.jerk, -push.sign * push.jerk)
    add(profile, wait_s, 0.0)
    append_stop(push.sign * v_limit, 0.0, push.up, push.down, push.jerk, profile)


cdef void plan_reach(
    double distance, double velocity, double acceleration, const AxisLimits *limits,
    Profile *profile
) noexcept nogil:
    """Plan the fastest way to ``distance`` with velocity and acceleration zero at the end."""
    cdef Push push
    cdef double p = 0.0
    cdef double v = velocity
    cdef double a = acceleration
    cdef double low, high, longest, middle, f_low, f_high, f, goal, v_limit
    cdef int i
    cdef int side = 0
    plan_stop(velocity, acceleration, limits, profile)
    follow(profile, profile.duration_s, &p, &v, &a)
    if fabs(distance - p) <= TOLERANCE:
        return
    push.sign = 1.0 if distance > p else -1.0
    push.velocity = push.sign * velocity
    push.acceleration = push.sign * acceleration
    push.up = limits.acceleration_up
    push.down = limits.acceleration_down
    push.ahead = push.up if push.sign > 0.0 else push.down
    push.jerk = limits.jerk
    v_limit = limits.velocity_up if push.sign > 0.0 else limits.velocity_down
    goal = push.sign * distance
    low = 0.0
    f_low = push.sign * p - goal
    # From rest, without other limits, a push of t ends 2 jerk t^3 farther: a first guess.
    longest = longest_push(&push, v_limit)
    high = min(longest, 1.01 * cbrt(-f_low / (2.0 * push.jerk)))
    f_high = pushed(&push, high, profile) - goal
    while f_high <= 0.0:
        if high >= longest:
            cruise(
                &push, high, v_limit,
                -f_high / v_limit if -f_high < NEVER_S * v_limit else NEVER_S, profile,
            )
            return
        low = high
        f_low = f_high
        high = min(longest, 3.0 * high)
        f_high = pushed(&push, high, profile) - goal
    # Regula falsi with the Illinois step, and bisection where that crawls.
    for i in range(MAX_ITERATIONS):
        middle = (low * f_high - high * f_low) / (f_high - f_low)
        if i % 4 == 3:
            middle = 0.5 * (low + high)
        f = pushed(&push, middle, profile) - goal
        if fabs(f) <= TOLERANCE or high - low < 1e-14:
            return
        if f > 0.0:
            high = middle
            f_high = f
            if side == 1:
                f_low *= 0.5
            side = 1
        else:
            low = middle
            f_low = f
            if side == -1:
                f_high *= 0.5
            side = -1
