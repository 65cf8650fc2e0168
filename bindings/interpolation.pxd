"""Declares the knots of a timeline and the interpolation between them."""

from libc.stdint cimport int64_t


cdef struct Knot:
    int64_t t_ns
    double setpoint[8]
    int64_t chunk_id
    int64_t t_obs_ns


cdef Py_ssize_t knot_before(const Knot *knots, Py_ssize_t count, int64_t now_ns) noexcept nogil
cdef Py_ssize_t knot_in_force(const Knot *knots, Py_ssize_t count, int64_t now_ns) noexcept nogil
cdef void interpolate_knots(
    const Knot *knots, Py_ssize_t count, int64_t now_ns, double *setpoint, double *twist
) noexcept nogil
cdef Py_ssize_t check_knots(
    const int64_t[::1] t_ns, const double[:, ::1] setpoints, Py_ssize_t capacity
) except -1
