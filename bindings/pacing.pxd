"""Declares what the joints of one serial arm may do."""

from dvla.bindings.kinematics cimport MAX_JOINTS, Kinematics


cdef struct Pace:
    double velocity[MAX_JOINTS]  # of the last step [rad/s]
    double acceleration[MAX_JOINTS]  # between the last two [rad/s2]
    double owed[6]  # from the TCP to the setpoint of the last step [m, rad]


cdef class Pacing(Kinematics):
    cdef double _lower[MAX_JOINTS]
    cdef double _upper[MAX_JOINTS]
    cdef double _accelerations[MAX_JOINTS]
    cdef double _jerks[MAX_JOINTS]
    cdef double _brakes[MAX_JOINTS]

    cdef int _limit(
        self, const double[::1] lower, const double[::1] upper, const double[::1] accelerations,
        const double[::1] jerks,
    ) except -1
    cdef void _keep_pace(
        self, const double *q, const Pace *pace, const double *speeds, double time_s,
        double *low, double *high,
    ) noexcept nogil
    cdef double _calm_speed(
        self, int joint, double way, double share, double period_s
    ) noexcept nogil
    cdef double _calm_share(
        self, const double *new, const double *step, double period_s
    ) noexcept nogil
    cdef double _elbow_share(
        self, const double *way, double whole, double period_s
    ) noexcept nogil
