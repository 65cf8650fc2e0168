"""Declares time-optimal motion of one axis under velocity, acceleration and jerk limits."""

cdef enum:
    MAX_SEGMENTS = 7


cdef struct AxisLimits:
    double velocity_up  # fastest velocity relative to the target, each >= 0
    double velocity_down
    double acceleration_up
    double acceleration_down
    double jerk


cdef struct Profile:
    int count
    double dt[MAX_SEGMENTS]
    double jerk[MAX_SEGMENTS]
    double duration_s


cdef void plan_stop(
    double velocity, double acceleration, const AxisLimits *limits, Profile *profile
) noexcept nogil
cdef void plan_reach(
    double distance, double velocity, double acceleration, const AxisLimits *limits,
    Profile *profile
) noexcept nogil
cdef void follow(
    const Profile *profile, double time_s, double *position, double *velocity, double *acceleration
) noexcept nogil
