"""SO(3) in the robot base frame: quaternions (w, x, y, z) and rotation vectors [rad], inlined."""

from libc.math cimport atan2, cos, sin, sqrt


cdef inline double dot3(const double *a, const double *b) noexcept nogil:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


cdef inline double norm3(const double *a) noexcept nogil:
    return sqrt(dot3(a, a))


cdef inline void cross3(const double *a, const double *b, double *out) noexcept nogil:
    out[0] = a[1] * b[2] - a[2] * b[1]
    out[1] = a[2] * b[0] - a[0] * b[2]
    out[2] = a[0] * b[1] - a[1] * b[0]


cdef inline void rotate_by(const double *vector, const double *q, double *out) noexcept nogil:
    """out = exp(vector) * q, normalised; ``out`` may be ``q``."""
    cdef double angle = norm3(vector)
    cdef double half = 0.5 * angle
    cdef double scale = 0.5 - angle * angle / 48.0 if angle < 1e-4 else sin(half) / angle
    cdef double w = cos(half)
    cdef double x = scale * vector[0]
    cdef double y = scale * vector[1]
    cdef double z = scale * vector[2]
    cdef double rw = w * q[0] - x * q[1] - y * q[2] - z * q[3]
    cdef double rx = w * q[1] + x * q[0] + y * q[3] - z * q[2]
    cdef double ry = w * q[2] - x * q[3] + y * q[0] + z * q[1]
    cdef double rz = w * q[3] + x * q[2] - y * q[1] + z * q[0]
    cdef double inverse = 1.0 / sqrt(rw * rw + rx * rx + ry * ry + rz * rz)
    out[0] = rw * inverse
    out[1] = rx * inverse
    out[2] = ry * inverse
    out[3] = rz * inverse


cdef inline void rotation_between(const double *q0, const double *q1, double *out) noexcept nogil:
    """out = log(q1 * conj(q0)): the shortest base-frame rotation vector that takes q0 to q1."""
    cdef double w = q1[0] * q0[0] + q1[1] * q0[1] + q1[2] * q0[2] + q1[3] * q0[3]
    cdef double x = -q1[0] * q0[1] + q1[1] * q0[0] - q1[2] * q0[3] + q1[3] * q0[2]
    cdef double y = -q1[0] * q0[2] + q1[1] * q0[3] + q1[2] * q0[0] - q1[3] * q0[1]
    cdef double z = -q1[0] * q0[3] - q1[1] * q0[2] + q1[2] * q0[1] + q1[3] * q0[0]
    cdef double sign = -1.0 if w < 0.0 else 1.0
    cdef double length = sqrt(x * x + y * y + z * z)
    cdef double scale = 2.0 if length < 1e-9 else 2.0 * atan2(length, sign * w) / length
    out[0] = sign * scale * x
    out[1] = sign * scale * y
    out[2] = sign * scale * z


cdef inline void left_jacobian(const double *phi, const double *rate, double *out) noexcept nogil:
    """out = Jl(phi) rate: the angular velocity of exp(phi(t)) for dphi/dt = rate."""
    cdef double angle2 = dot3(phi, phi)
    cdef double angle = sqrt(angle2)
    cdef double b, c
    cdef double once[3]
    cdef double twice[3]
    if angle < 1e-3:
        b = 0.5 - angle2 / 24.0
        c = 1.0 / 6.0 - angle2 / 120.0
    else:
        b = (1.0 - cos(angle)) / angle2
        c = (angle - sin(angle)) / (angle2 * angle)
    cross3(phi, rate, once)
    cross3(phi, once, twice)
    for i in range(3):
        out[i] = rate[i] + b * once[i] + c * twice[i]


cdef inline void inverse_left_jacobian(
    const double *phi, const double *omega, double *out
) noexcept nogil:
    """out = Jl(phi)^-1 omega, for |phi| <= pi."""
    cdef double angle2 = dot3(phi, phi)
    cdef double angle = sqrt(angle2)
    cdef double c
    cdef double once[3]
    cdef double twice[3]
    if angle < 1e-3:
        c = 1.0 / 12.0 + angle2 / 720.0
    else:
        c = 1.0 / angle2 - 0.5 * cos(0.5 * angle) / (angle * sin(0.5 * angle))
    cross3(phi, omega, once)
    cross3(phi, once, twice)
    for i in range(3):
        out[i] = omega[i] - 0.5 * once[i] + c * twice[i]
