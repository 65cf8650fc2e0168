"""Declares the shaper: limits, state and the nogil steps that the planner calls."""

from dvla.bindings.motion cimport Bounds, Motion


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
    cdef ShaperLimits _limits
    cdef readonly double share
    cdef readonly double period_s
    cdef ShaperState state

    cdef void reset_nogil(self, const double *setpoint) noexcept nogil
    cdef int step_nogil(
        self, ShaperState *state, const double *target, const double *twist
    ) noexcept nogil
    cdef bint stop_nogil(self, ShaperState *state) noexcept nogil
