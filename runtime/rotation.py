"""Quaternion arithmetic of the servo and the arm: order w, x, y, z, unit, robot base frame."""

from __future__ import annotations

import numpy as np

from dvla.runtime.pose import Float64


def rotation_between(start: Float64, end: Float64) -> Float64:
    """Return the shortest rotation vectors that turn ``start`` into ``end``.

    Args:
        start: (..., 4) unit quaternions.
        end: (..., 4) unit quaternions.

    Returns:
        (..., 3) [rad], in the base frame: end = exp(vector) * start.
    """
    w0, v0 = start[..., :1], start[..., 1:]
    w1, v1 = end[..., :1], end[..., 1:]
    real = np.sum(start * end, axis=-1, keepdims=True)
    imaginary = w0 * v1 - w1 * v0 - _cross(v1, v0)
    imaginary = np.where(real < 0.0, -imaginary, imaginary)
    sine = np.sqrt(np.sum(imaginary * imaginary, axis=-1, keepdims=True))
    half = np.arctan2(sine, np.abs(real))
    # 2 half / sine tends to 2 / real where the angle vanishes.
    ratio = np.where(sine > 1e-12, 2.0 * half / np.maximum(sine, 1e-12), 2.0)
    return imaginary * ratio


def rotate(rotation: Float64, quaternion: Float64) -> Float64:
    """Return exp(rotation) * quaternion.

    Args:
        rotation: (3,) [rad], base frame.
        quaternion: (4,) unit.

    Returns:
        (4,) unit.
    """
    angle = float(np.sqrt(rotation @ rotation))
    scale = 0.5 * np.sinc(angle / (2.0 * np.pi))
    w1, v1 = np.cos(angle / 2.0), rotation * scale
    w0, v0 = quaternion[0], quaternion[1:]
    turned: Float64 = np.concatenate([[w1 * w0 - v1 @ v0], w1 * v0 + w0 * v1 + _cross(v1, v0)])
    turned /= np.sqrt(turned @ turned)
    return turned


def _cross(a: Float64, b: Float64) -> Float64:
    """Return a x b over the last axis; several times faster than ``np.cross`` on short rows."""
    return a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]]
