"""Declares the kinematics of one serial arm: frames, manipulability, distances of its links."""

from dvla.bindings.frames cimport Frame

cdef enum:
    MAX_JOINTS = 8
    MAX_CAPSULES = 16
    MAX_PAIRS = 64
    MAX_PLANES = 8


cdef struct Capsule:
    int link  # 0 for the base, i for the frame after joint i
    double radius
    double ends[6]


cdef class Kinematics:
    cdef readonly int joints
    cdef double _dh[MAX_JOINTS][6]  # a, alpha, d, theta, cos(alpha), sin(alpha)
    cdef Frame _tool
    cdef int _capsule_count, _pair_count, _plane_count
    cdef Capsule _capsules[MAX_CAPSULES]
    cdef int _pairs[MAX_PAIRS][2]
    cdef double _planes[MAX_PLANES][4]

    cdef void _forward(self, const double *q, Frame *frames) noexcept nogil
    cdef void _jacobian(self, const Frame *frames, double *jacobian) noexcept nogil
    cdef void _miss(self, const Frame *frames, const double *setpoint, double *miss) noexcept nogil
    cdef void _facts(self, const Frame *frames, const double *setpoint, double *facts) noexcept nogil
    cdef double _manipulability(self, const Frame *frames) noexcept nogil
    cdef double _self_clearance(self, const Frame *frames) noexcept nogil
    cdef double _plane_clearance(self, const Frame *frames) noexcept nogil
