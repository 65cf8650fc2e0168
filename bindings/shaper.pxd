"""Declares the shaper: limits, state and the nogil steps that the planner calls."""

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


cdef struct ShaperState:
    double setpoint[8]
    Motion linear
    Motion angular


cdef class ShaperLimits:
    cdef readonly double linear_velocity
    cdef readonly double linear_acceleration
    cdef readonly double linear_jerk
    cdef readonly double angular_velocity
    cdef readonly double angular_acceleration
    cdef readonly double angular_jerk


cdef class PoseShaper:
    cdef Bounds _linear
    cdef Bounds _angular
    cdef readonly double period_s
    cdef ShaperState state

    cdef void reset_nogil(self, const double *setpoint) noexcept nogil
    cdef int step_nogil(
        self, ShaperState *state, const double *target, const double *twist
    ) noexcept nogil
    cdef bint stop_nogil(self, ShaperState *state) noexcept nogil
