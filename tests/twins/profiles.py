"""Plain twin of dvla.bindings.profiles: time-optimal motion of one axis."""

from __future__ import annotations

import math
from typing import NamedTuple

Segments = list[tuple[float, float]]  # (duration [s], jerk)


class AxisLimits(NamedTuple):
    """Bounds relative to the target: velocity and acceleration up and down, and jerk."""

    v_up: float
    v_down: float
    a_up: float
    a_down: float
    jerk: float


def add(segments: Segments, dt: float, jerk: float) -> None:
    """Append a segment unless it is empty."""
    if dt > 0:
        segments.append((dt, jerk))


def duration(segments: Segments) -> float:
    """Return the plan's time [s]."""
    return sum(dt for dt, _ in segments)


def follow(segments: Segments, time_s: float, p: float, v: float, a: float):
    """Return the state (p, v, a) after a time."""
    for whole, jerk in segments:
        dt = min(whole, time_s)
        p += dt * (v + dt * (0.5 * a + dt * jerk / 6))
        v += dt * (a + 0.5 * dt * jerk)
        a += dt * jerk
        time_s -= dt
        if time_s <= 0:
            break
    return p, v, a


def stop(v: float, a: float, limits: AxisLimits) -> Segments:
    """Plan the fastest way to velocity and acceleration zero."""
    j = limits.jerk
    sign = 1.0 if v + a * abs(a) / (2 * j) < 0 else -1.0
    bound = limits.a_up if sign > 0 else limits.a_down
    start, change = sign * a, -sign * v
    peak = math.sqrt(max(j * change + 0.5 * start * start, 0.0))
    hold = 0.0
    if peak > bound:
        peak = bound
        hold = (change - (2 * peak * peak - start * start) / (2 * j)) / peak
    segments: Segments = []
    add(segments, (peak - start) / j, sign * j)
    add(segments, hold, 0.0)
    add(segments, peak / j, -sign * j)
    return segments


def reach(distance: float, v: float, a: float, limits: AxisLimits) -> Segments:
    """Plan the fastest way to ``distance`` and rest there."""
    direct = stop(v, a, limits)
    p, _, _ = follow(direct, duration(direct), 0.0, v, a)
    if abs(distance - p) <= 1e-14:
        return direct
    sign = 1.0 if distance > p else -1.0
    j = limits.jerk
    ahead = limits.a_up if sign > 0 else limits.a_down
    v_limit = limits.v_up if sign > 0 else limits.v_down

    def boost(time_s: float) -> tuple[Segments, float, float]:
        rise = min(time_s, max((ahead - sign * a) / j, 0.0))
        segments: Segments = []
        add(segments, rise, sign * j)
        add(segments, time_s - rise, 0.0)
        _, v_end, a_end = follow(segments, time_s, 0.0, v, a)
        return segments, v_end, a_end

    def pushed(time_s: float) -> tuple[Segments, float]:
        segments, v_end, a_end = boost(time_s)
        segments = segments + stop(v_end, a_end, limits)
        return segments, sign * follow(segments, duration(segments), 0.0, v, a)[0]

    head, square = j * (v_limit - sign * v), 0.5 * a * a
    peak = math.sqrt(max(head + square, 0.0))
    hold = 0.0
    if peak > ahead:
        peak = ahead
        hold = (head + square - peak * peak) / (j * peak)
    high = max((peak - sign * a) / j, 0.0) + max(hold, 0.0)
    goal = sign * distance
    f_high = pushed(high)[1] - goal
    if f_high <= 0:
        segments, _, a_end = boost(high)
        add(segments, sign * a_end / j, -sign * j)
        add(segments, -f_high / v_limit if -f_high < 1e6 * v_limit else 1e6, 0.0)
        return segments + stop(sign * v_limit, 0.0, limits)
    low = 0.0
    for _ in range(80):  # plain bisection: the compiled one takes fewer steps to the same root
        middle = 0.5 * (low + high)
        if pushed(middle)[1] > goal:
            high = middle
        else:
            low = middle
    return pushed(high)[0]
