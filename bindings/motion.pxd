"""Declares the motion of three axes that share norm bounds."""

cdef enum:
    VELOCITY_BIT = 1
    ACCELERATION_BIT = 2
    JERK_BIT = 4


cdef struct Bounds:
    double velocity
    double acceleration
    double jerk


cdef struct Motion:
    double velocity[3]
    double acceleration[3]
    double share[3]  # of the norm bounds, per axis; the squares sum to one
    double target_velocity[3]  # of the last step
    bint target_known


cdef struct Goal:
    bint stop
    double distance[3]  # to the target, less what it moves in this tick
    double velocity[3]  # of the target at the end of this tick
    double acceleration[3]


cdef int advance(
    Motion *motion, Goal *goal, const Bounds *bounds, double period_s, double *moved
) noexcept nogil
cdef void set_goal(
    Motion *motion, const double *distance, const double *velocity, const Bounds *bounds,
    double period_s, Goal *goal
) noexcept nogil
cdef void rest(Motion *motion) noexcept nogil
cdef bint resting(const Motion *motion) noexcept nogil
