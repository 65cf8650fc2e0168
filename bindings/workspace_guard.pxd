"""Declares the guard that keeps a planner's targets inside a box."""

from dvla.bindings.motion cimport Motion

cdef enum:
    WORKSPACE_BIT = 8  # the shaper's own are 1, 2 and 4
    BRAKE_BIT = 16


cdef class WorkspaceGuard:
    cdef double _lower[3]
    cdef double _upper[3]
    cdef double _reserve
    cdef double _jerk
    cdef double _hardest
    cdef double _plan_jerk
    cdef double _acceleration

    cdef int lead_inside(
        self, const double *position, const Motion *motion, double *target, double *twist
    ) noexcept nogil
    cdef double _lag_s(self, const Motion *motion, double speed) noexcept nogil
