"""Declares the solver that finds the joints for a path of setpoints."""

from dvla.bindings.frames cimport Frame
from dvla.bindings.kinematics cimport MAX_JOINTS, Kinematics


cdef struct Pace:
    double velocity[MAX_JOINTS]  # of the last step [rad/s]
    double acceleration[MAX_JOINTS]  # between the last two [rad/s2]
    double owed[6]  # from the TCP to the setpoint of the last step [m, rad]


cdef class Follower(Kinematics):
    cdef double _lower[MAX_JOINTS]
    cdef double _upper[MAX_JOINTS]
    cdef double _accelerations[MAX_JOINTS]
    cdef double _jerks[MAX_JOINTS]
    cdef double _brakes[MAX_JOINTS]
    cdef double _posture[MAX_JOINTS]
    cdef double _turn_weight

    cdef void _go(
        self, double *q, Frame *frames, const double *setpoint, int turns, double time_s,
        double *speeds, Pace *pace,
    ) noexcept nogil
    cdef void _keep_pace(
        self, const double *q, const Pace *pace, const double *speeds, double time_s,
        double *low, double *high,
    ) noexcept nogil
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
