"""Interpolation between knots: C1 in position and on SO(3), the gripper held.

Tangents are those of the parabola through three neighbouring knots, shortened where a neighbouring
segment is short: |m| <= 3 min(|before|, |after|). Smooth motion passes through unchanged; a step
between two rests does not overshoot, in whatever direction it points.
"""

from libc.math cimport fabs, isfinite, sqrt
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from dvla.bindings.rotations cimport (
    inverse_left_jacobian,
    left_jacobian,
    norm3,
    rotate_by,
    rotation_between,
)


cdef Py_ssize_t knot_before(const Knot *knots, Py_ssize_t count, int64_t now_ns) noexcept nogil:
    """Return the last knot that is not later than ``now_ns``; -1 when all are later."""
    cdef Py_ssize_t low = 0
    cdef Py_ssize_t high = count
    cdef Py_ssize_t middle
    while low < high:
        middle = (low + high) // 2
        if knots[middle].t_ns <= now_ns:
            low = middle + 1
        else:
            high = middle
    return low - 1


cdef Py_ssize_t knot_in_force(const Knot *knots, Py_ssize_t count, int64_t now_ns) noexcept nogil:
    """Return the knot whose action is in force: knots sit mid-interval, so the nearest one."""
    cdef Py_ssize_t left = knot_before(knots, count, now_ns)
    if left < 0:
        return 0
    if left == count - 1:
        return left
    return left + (now_ns - knots[left].t_ns >= knots[left + 1].t_ns - now_ns)


cdef void secant(const Knot *left, const Knot *right, double *linear, double *angular) noexcept nogil:
    """Mean velocities from one knot to the next [m/s, rad/s]."""
    cdef double per_s = 1e9 / <double> (right.t_ns - left.t_ns)
    rotation_between(&left.setpoint[3], &right.setpoint[3], angular)
    for i in range(3):
        linear[i] = (right.setpoint[i] - left.setpoint[i]) * per_s
        angular[i] *= per_s


cdef void limited_mean(
    const double *before, const double *after, double before_s, double after_s, double *out
) noexcept nogil:
    """The parabola's slope at the middle knot, at most three times the smaller neighbour."""
    cdef double weight = before_s / (before_s + after_s)
    cdef double bound, length
    for i in range(3):
        out[i] = (1.0 - weight) * before[i] + weight * after[i]
    bound = 3.0 * min(norm3(before), norm3(after))
    length = norm3(out)
    if length > bound:
        for i in range(3):
            out[i] *= bound / length


cdef void tangent(
    const Knot *knots, Py_ssize_t count, Py_ssize_t i, double *linear, double *angular
) noexcept nogil:
    """Velocities at knot ``i``; one-sided at both ends."""
    cdef double linear_before[3]
    cdef double linear_after[3]
    cdef double angular_before[3]
    cdef double angular_after[3]
    cdef double before_s, after_s
    if i == 0:
        secant(&knots[0], &knots[1], linear, angular)
    elif i == count - 1:
        secant(&knots[i - 1], &knots[i], linear, angular)
    else:
        secant(&knots[i - 1], &knots[i], linear_before, angular_before)
        secant(&knots[i], &knots[i + 1], linear_after, angular_after)
        before_s = 1e-9 * <double> (knots[i].t_ns - knots[i - 1].t_ns)
        after_s = 1e-9 * <double> (knots[i + 1].t_ns - knots[i].t_ns)
        limited_mean(linear_before, linear_after, before_s, after_s, linear)
        limited_mean(angular_before, angular_after, before_s, after_s, angular)


cdef void between(
    const Knot *knots, Py_ssize_t count, Py_ssize_t i, int64_t now_ns, double *setpoint,
    double *twist
) noexcept nogil:
    """Cubic Hermite on the segment from knot ``i``; rotations in the log map at knot ``i``."""
    cdef const Knot *left = &knots[i]
    cdef const Knot *right = &knots[i + 1]
    cdef double width_s = 1e-9 * <double> (right.t_ns - left.t_ns)
    cdef double s = 1e-9 * <double> (now_ns - left.t_ns) / width_s
    cdef double v0[3]
    cdef double v1[3]
    cdef double w0[3]
    cdef double w1[3]
    cdef double turn[3]
    cdef double phi[3]
    cdef double rate[3]
    tangent(knots, count, i, v0, w0)
    tangent(knots, count, i + 1, v1, w1)
    rotation_between(&left.setpoint[3], &right.setpoint[3], turn)
    inverse_left_jacobian(turn, w1, phi)
    for k in range(3):
        w1[k] = phi[k]
    cdef double h10 = s * (1.0 - s) * (1.0 - s) * width_s
    cdef double h01 = s * s * (3.0 - 2.0 * s)
    cdef double h11 = s * s * (s - 1.0) * width_s
    cdef double d10 = (1.0 - s) * (1.0 - 3.0 * s)
    cdef double d01 = 6.0 * s * (1.0 - s) / width_s
    cdef double d11 = s * (3.0 * s - 2.0)
    cdef double step
    for k in range(3):
        step = right.setpoint[k] - left.setpoint[k]
        setpoint[k] = left.setpoint[k] + h01 * step + h10 * v0[k] + h11 * v1[k]
        twist[k] = d01 * step + d10 * v0[k] + d11 * v1[k]
        phi[k] = h01 * turn[k] + h10 * w0[k] + h11 * w1[k]
        rate[k] = d01 * turn[k] + d10 * w0[k] + d11 * w1[k]
    rotate_by(phi, &left.setpoint[3], &setpoint[3])
    left_jacobian(phi, rate, &twist[3])


cdef void interpolate_knots(
    const Knot *knots, Py_ssize_t count, int64_t now_ns, double *setpoint, double *twist
) noexcept nogil:
    """Write setpoint (8,) and feed-forward twist (6,); clamped, at rest, outside the knots."""
    cdef Py_ssize_t i = knot_before(knots, count, now_ns)
    cdef const Knot *end
    if i < 0 or i >= count - 1:
        end = &knots[0 if i < 0 else count - 1]
        for k in range(8):
            setpoint[k] = end.setpoint[k]
        for k in range(6):
            twist[k] = 0.0
        return
    between(knots, count, i, now_ns, setpoint, twist)
    setpoint[7] = knots[knot_in_force(knots, count, now_ns)].setpoint[7]


cdef Py_ssize_t check_knots(
    const int64_t[::1] t_ns, const double[:, ::1] setpoints, Py_ssize_t capacity
) except -1:
    """Refuse what no timeline may hold; return the number of knots."""
    cdef Py_ssize_t count = t_ns.shape[0]
    cdef double square
    if setpoints.shape[0] != count or setpoints.shape[1] != 8:
        raise ValueError(
            f"setpoints: got shape ({setpoints.shape[0]}, {setpoints.shape[1]}), "
            f"expected ({count}, 8) to match t_ns"
        )
    if count > capacity:
        raise ValueError(f"t_ns: got {count} knots, expected at most {capacity}")
    for i in range(count):
        if i and t_ns[i] <= t_ns[i - 1]:
            raise ValueError(
                f"t_ns: must rise strictly, got {t_ns[i - 1]} then {t_ns[i]} at index {i}"
            )
        square = 0.0
        for k in range(8):
            if not isfinite(setpoints[i, k]):
                raise ValueError(f"setpoints: row {i} is not finite")
            if 3 <= k < 7:
                square += setpoints[i, k] * setpoints[i, k]
        if fabs(sqrt(square) - 1.0) > 1e-3:
            raise ValueError(
                f"setpoints: row {i} has a quaternion of norm {sqrt(square):.6g}, expected 1"
            )
    return count


def interpolate(
    const int64_t[::1] t_ns not None,
    const double[:, ::1] setpoints not None,
    int64_t now_ns,
    double[::1] setpoint_out not None,
    double[::1] twist_out not None,
):
    """Interpolate a timeline at one instant.

    Args:
        t_ns: (n,) knot times, strictly rising, n >= 1.
        setpoints: (n, 8) [m, -, -]; quaternions may change sign from row to row.
        now_ns: the instant.
        setpoint_out: (8,) is written; clamped outside the knots.
        twist_out: (6,) is written [m/s, rad/s], base frame: the exact derivative; 0 outside.

    Raises:
        ValueError: wrong shape, no knots, times that do not rise, or values that are not finite.
    """
    cdef Py_ssize_t count = check_knots(t_ns, setpoints, 1 << 30)
    if count == 0:
        raise ValueError("t_ns: got no knots, expected at least one")
    if setpoint_out.shape[0] != 8 or twist_out.shape[0] != 6:
        raise ValueError(
            f"outputs: got shapes ({setpoint_out.shape[0]},) and ({twist_out.shape[0]},), "
            "expected (8,) and (6,)"
        )
    cdef Knot *knots = <Knot *> malloc(count * sizeof(Knot))
    if knots == NULL:
        raise MemoryError()
    for i in range(count):
        knots[i].t_ns = t_ns[i]
        for k in range(8):
            knots[i].setpoint[k] = setpoints[i, k]
    interpolate_knots(knots, count, now_ns, &setpoint_out[0], &twist_out[0])
    free(knots)
