"""How a joint comes to rest before an end: closed forms, inlined."""

from libc.math cimport fmax, fmin, sqrt


cdef inline double nearing(double left, double brake, double time_s) noexcept nogil:
    """Return the speed at which a joint may go on towards an end that is so far away.

    After the time it still stops there by braking. [rad, rad/s2, s -> rad/s] Of an acceleration and
    a speed that it nears, all is one order higher.
    """
    cdef double gone = brake * time_s
    return 2.0 * brake * left / (sqrt(gone * gone + 2.0 * brake * left) + gone)


cdef inline double way_to_rest(
    double speed, double change, double brake, double jerk
) noexcept nogil:
    """Return how far a joint goes on in one direction until it is at rest without acceleration.

    Its acceleration falls to that of the brake, or less where that is enough, stays there, and
    rises to nothing again, each by the jerk. At most 0 where it does not go that way any more.
    [rad/s, rad/s2, rad/s2, rad/s3 -> rad]
    """
    cdef double least, fall_s, hold_s, kept
    if change < 0.0 and change * change >= 2.0 * jerk * speed:
        # It brakes by more than it must, and turns round while that falls.
        if speed <= 0.0:
            return 0.0
        fall_s = (-change - sqrt(change * change - 2.0 * jerk * speed)) / jerk
        return fall_s * (speed + fall_s * (0.5 * change + fall_s * jerk / 6.0))
    least = jerk * speed + 0.5 * change * change
    if least <= 0.0:
        return 0.0
    least = fmin(fmax(brake, -change), sqrt(least))
    fall_s = (change + least) / jerk
    kept = speed + (change * change - least * least) / (2.0 * jerk)
    hold_s = fmax(0.0, (kept - least * least / (2.0 * jerk)) / least)
    return (
        fall_s * (speed + fall_s * (0.5 * change - fall_s * jerk / 6.0))
        + hold_s * (kept - 0.5 * least * hold_s)
        + least * least * least / (6.0 * jerk * jerk)
    )


cdef inline double change_towards(
    double left, double speed, double least, double most, double brake, double jerk, double time_s
) noexcept nogil:
    """Return the most of an acceleration, for a time, with which a joint still stops at an end.

    Args:
        left: to the end [rad]; ``speed`` towards it [rad/s].
        least / most: between which it is looked for [rad/s2]; least where none is enough.
        brake: [rad/s2]; ``jerk`` [rad/s3]; ``time_s`` for which it holds.
    """
    cdef double middle
    cdef int halving
    if stops_in(left, speed, most, brake, jerk, time_s):
        return most
    for halving in range(HALVINGS):
        middle = 0.5 * (least + most)
        if stops_in(left, speed, middle, brake, jerk, time_s):
            least = middle
        else:
            most = middle
    return least


cdef enum:
    HALVINGS = 12


cdef inline bint stops_in(
    double left, double speed, double change, double brake, double jerk, double time_s
) noexcept nogil:
    """Return whether a joint stops in time that changes its speed so for a time."""
    speed += change * time_s
    # Steps end as far on as their last speed goes: at least half a step more than in passing.
    return way_to_rest(speed, change, brake, jerk) + fmax(0.0, speed) * 1.5 * time_s <= left
