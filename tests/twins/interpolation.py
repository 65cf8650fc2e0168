"""Plain twin of dvla.bindings.interpolation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from twins.rotations import left_jacobian, rotate_by, rotation_between

Float64 = NDArray[np.float64]


def secant(t_s: Float64, rows: Float64, i: int) -> Float64:
    """Return the mean twist (6,) from knot i to knot i + 1."""
    width = t_s[i + 1] - t_s[i]
    step = rows[i + 1, :3] - rows[i, :3]
    return np.concatenate([step, rotation_between(rows[i, 3:7], rows[i + 1, 3:7])]) / width


def limited(mean: Float64, before: Float64, after: Float64) -> Float64:
    """Shorten a tangent to three times its smaller neighbour."""
    bound = 3 * min(np.linalg.norm(before), np.linalg.norm(after))
    length = np.linalg.norm(mean)
    return mean * (bound / length) if length > bound else mean


def tangent(t_s: Float64, rows: Float64, i: int) -> Float64:
    """Return the twist (6,) at knot i."""
    if i in (0, len(t_s) - 1):
        return secant(t_s, rows, min(i, len(t_s) - 2))
    before, after = secant(t_s, rows, i - 1), secant(t_s, rows, i)
    weight = (t_s[i] - t_s[i - 1]) / (t_s[i + 1] - t_s[i - 1])
    mean = (1 - weight) * before + weight * after
    return np.concatenate(
        [limited(mean[k], before[k], after[k]) for k in (slice(0, 3), slice(3, 6))]
    )


def interpolate(t_ns: NDArray[np.int64], rows: Float64, now_ns: int) -> tuple[Float64, Float64]:
    """Return the setpoint (8,) and the twist (6,) at an instant."""
    if now_ns < t_ns[0]:
        return rows[0].copy(), np.zeros(6)
    if now_ns >= t_ns[-1]:
        return rows[-1].copy(), np.zeros(6)
    i = int(np.searchsorted(t_ns, now_ns, side="right")) - 1
    t_s = (t_ns - t_ns[0]) * 1e-9
    width = t_s[i + 1] - t_s[i]
    s = (now_ns - t_ns[i]) * 1e-9 / width
    first, last = tangent(t_s, rows, i), tangent(t_s, rows, i + 1)
    turn = rotation_between(rows[i, 3:7], rows[i + 1, 3:7])
    last[3:] = np.linalg.solve(left_jacobian(turn), last[3:])
    step = np.concatenate([rows[i + 1, :3] - rows[i, :3], turn])
    way = (
        (3 * s**2 - 2 * s**3) * step
        + (s**3 - 2 * s**2 + s) * width * first
        + (s**3 - s**2) * width * last
    )
    rate = (
        (6 * s - 6 * s**2) / width * step
        + (3 * s**2 - 4 * s + 1) * first
        + (3 * s**2 - 2 * s) * last
    )
    nearest = i + int(now_ns - t_ns[i] >= t_ns[i + 1] - now_ns)
    setpoint = np.concatenate(
        [rows[i, :3] + way[:3], rotate_by(way[3:], rows[i, 3:7]), rows[nearest, 7:]]
    )
    return setpoint, np.concatenate([rate[:3], left_jacobian(way[3:]) @ rate[3:]])
