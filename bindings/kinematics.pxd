"""Declares the kinematics of one serial arm: differential IK, distances of its links."""

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


cdef struct Pace:
    double velocity[MAX_JOINTS]  # of the last step [rad/s]
    double acceleration[MAX_JOINTS]  # between the last two [rad/s2]
    double owed[6]  # from the TCP to the setpoint of the last step [m, rad]


cdef class Kinematics:
    cdef readonly int joints
    cdef double _dh[MAX_JOINTS][6]  # a, alpha, d, theta, cos(alpha), sin(alpha)
    cdef Frame _tool
    cdef double _lower[MAX_JOINTS]
    cdef double _upper[MAX_JOINTS]
    cdef double _accelerations[MAX_JOINTS]
    cdef double _jerks[MAX_JOINTS]
    cdef double _brakes[MAX_JOINTS]
    cdef double _posture[MAX_JOINTS]
    cdef double _turn_weight
    cdef int _capsule_count, _pair_count, _plane_count
    cdef Capsule _capsules[MAX_CAPSULES]
    cdef int _pairs[MAX_PAIRS][2]
    cdef double _planes[MAX_PLANES][4]

    cdef void _forward(self, const double *q, Frame *frames) noexcept nogil
    cdef void _jacobian(self, const Frame *frames, double *jacobian) noexcept nogil
    cdef void _miss(self, const Frame *frames, const double *setpoint, double *miss) noexcept nogil
    cdef void _step(
        self, double *q, const Frame *frames, const double *miss, double period_s,
        const double *low, const double *high, const double *owed,
    ) noexcept nogil
    cdef void _solve(
        self, const double *jacobian, const double *h, const double *factor, const double *pull,
        const double *left, const double *q, const double *low, const double *high, double *step,
    ) noexcept nogil
    cdef double _calm_share(
        self, const double *new, const double *step, double period_s
    ) noexcept nogil
    cdef double _elbow_share(
        self, const double *way, double period_s, double damping
    ) noexcept nogil
    cdef void _step_between(
        self, const double *jacobian, double *h, double *g, double *left, const double *q,
        const double *low, const double *high, double *step,
    ) noexcept nogil
    cdef double _manipulability(self, const Frame *frames) noexcept nogil
    cdef double _self_clearance(self, const Frame *frames) noexcept nogil
    cdef double _plane_clearance(self, const Frame *frames) noexcept nogil
    cdef void _facts(self, const Frame *frames, const double *setpoint, double *facts) noexcept nogil
    cdef void _go(
        self, double *q, Frame *frames, const double *setpoint, int turns, double time_s,
        double *speeds, Pace *pace,
    ) noexcept nogil
    cdef void _keep_pace(
        self, const double *q, const Pace *pace, const double *speeds, double time_s,
        double *low, double *high,
    ) noexcept nogil
