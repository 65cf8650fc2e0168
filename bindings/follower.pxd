"""Declares the solver that finds the joints for a path of setpoints."""

from dvla.bindings.frames cimport Frame
from dvla.bindings.kinematics cimport MAX_JOINTS
from dvla.bindings.pacing cimport Pace, Pacing


cdef class Follower(Pacing):
    cdef double _posture[MAX_JOINTS]
    cdef double _turn_weight

    cdef void _go(
        self, double *q, Frame *frames, const double *setpoint, int turns, double time_s,
        double *speeds, Pace *pace,
    ) noexcept nogil
    cdef void _step(
        self, double *q, const Frame *frames, const double *miss, double period_s,
        const double *low, const double *high, const Pace *pace,
    ) noexcept nogil
    cdef void _solve(
        self, const double *jacobian, const double *h, const double *factor, const double *pull,
        const double *left, const double *q, const double *low, const double *high, double *step,
    ) noexcept nogil
    cdef void _step_between(
        self, const double *jacobian, double *h, double *g, double *left, const double *q,
        const double *low, const double *high, double *step,
    ) noexcept nogil
