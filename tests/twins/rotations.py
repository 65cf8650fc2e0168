"""SO(3) in plain numpy: quaternions (w, x, y, z) and rotation vectors [rad]."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def multiply(a: Float64, b: Float64) -> Float64:
    """Return the quaternion product a * b."""
    w, v = a[0] * b[0] - a[1:] @ b[1:], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])
    return np.concatenate([[w], v])


def exponential(vector: Float64) -> Float64:
    """Return the unit quaternion of a rotation vector."""
    angle = float(np.linalg.norm(vector))
    return np.concatenate([[math.cos(angle / 2)], 0.5 * np.sinc(angle / (2 * np.pi)) * vector])


def rotation_between(q0: Float64, q1: Float64) -> Float64:
    """Return log(q1 q0^-1), the shorter way round."""
    turn = multiply(q1, q0 * np.array([1.0, -1.0, -1.0, -1.0]))
    turn = -turn if turn[0] < 0 else turn
    length = float(np.linalg.norm(turn[1:]))
    if length < 1e-9:
        return 2.0 * turn[1:]
    return 2.0 * math.atan2(length, turn[0]) / length * turn[1:]


def rotate_by(vector: Float64, q: Float64) -> Float64:
    """Return exp(vector) q, normalised."""
    turned = multiply(exponential(vector), q)
    return turned / np.linalg.norm(turned)


def skew(vector: Float64) -> Float64:
    """Return the matrix of the cross product with a vector."""
    x, y, z = vector
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def left_jacobian(phi: Float64) -> Float64:
    """Return Jl(phi) by its power series, independent of closed forms."""
    term, total = np.eye(3), np.eye(3)
    for n in range(1, 30):
        term = term @ skew(phi) / (n + 1)
        total = total + term
    return total
