"""Frames of links and distances between them, inlined, without state and without allocation."""

from libc.math cimport fmax, fmin, sqrt

from dvla.bindings.rotations cimport dot3, norm3


cdef struct Frame:
    double r[9]  # rotation, row by row
    double p[3]


cdef inline void quaternion_of(const double *r, double *q) noexcept nogil:
    """q = the unit quaternion of a rotation matrix; the largest component is never cancelled."""
    cdef double trace = r[0] + r[4] + r[8]
    cdef double scale
    if trace > 0.0:
        scale = 2.0 * sqrt(1.0 + trace)
        q[0] = 0.25 * scale
        q[1] = (r[7] - r[5]) / scale
        q[2] = (r[2] - r[6]) / scale
        q[3] = (r[3] - r[1]) / scale
    elif r[0] > r[4] and r[0] > r[8]:
        scale = 2.0 * sqrt(1.0 + r[0] - r[4] - r[8])
        q[0] = (r[7] - r[5]) / scale
        q[1] = 0.25 * scale
        q[2] = (r[1] + r[3]) / scale
        q[3] = (r[2] + r[6]) / scale
    elif r[4] > r[8]:
        scale = 2.0 * sqrt(1.0 + r[4] - r[0] - r[8])
        q[0] = (r[2] - r[6]) / scale
        q[1] = (r[1] + r[3]) / scale
        q[2] = 0.25 * scale
        q[3] = (r[5] + r[7]) / scale
    else:
        scale = 2.0 * sqrt(1.0 + r[8] - r[0] - r[4])
        q[0] = (r[3] - r[1]) / scale
        q[1] = (r[2] + r[6]) / scale
        q[2] = (r[5] + r[7]) / scale
        q[3] = 0.25 * scale


cdef inline void compose(const Frame *a, const Frame *b, Frame *out) noexcept nogil:
    """out = a b; ``out`` is neither of them."""
    cdef int i, j
    for i in range(3):
        for j in range(3):
            out.r[3 * i + j] = (
                a.r[3 * i] * b.r[j] + a.r[3 * i + 1] * b.r[3 + j] + a.r[3 * i + 2] * b.r[6 + j]
            )
        out.p[i] = a.p[i] + dot3(&a.r[3 * i], b.p)


cdef inline void place(const Frame *frame, const double *point, double *out) noexcept nogil:
    cdef int i
    for i in range(3):
        out[i] = frame.p[i] + dot3(&frame.r[3 * i], point)


cdef inline double segment_distance(const double *a, const double *b) noexcept nogil:
    """Return the distance of two segments, each two points [m]."""
    cdef double u[3]
    cdef double v[3]
    cdef double w[3]
    cdef double gap[3]
    cdef double uu, uv, vv, uw, vw, denominator, s, t
    cdef int i
    for i in range(3):
        u[i] = a[3 + i] - a[i]
        v[i] = b[3 + i] - b[i]
        w[i] = a[i] - b[i]
    uu, uv, vv = dot3(u, u), dot3(u, v), dot3(v, v)
    uw, vw = dot3(u, w), dot3(v, w)
    denominator = uu * vv - uv * uv
    s = 0.0
    if denominator > 1e-12:
        s = fmin(1.0, fmax(0.0, (uv * vw - vv * uw) / denominator))
    # For this s the best t; where it leaves the segment, the best s for its end.
    t = (uv * s + vw) / vv if vv > 1e-12 else 0.0
    if t < 0.0 or t > 1.0 or denominator <= 1e-12:
        t = fmin(1.0, fmax(0.0, t))
        s = fmin(1.0, fmax(0.0, (uv * t - uw) / uu)) if uu > 1e-12 else 0.0
    for i in range(3):
        gap[i] = w[i] + s * u[i] - t * v[i]
    return norm3(gap)
