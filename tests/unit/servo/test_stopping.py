"""The stop: starts with the motion it is given, keeps its bounds, ends at rest, inside its box."""

from __future__ import annotations

import numpy as np
from arm_doubles import HOME, LIMITS, motion_extremes
from hypothesis import given, settings
from hypothesis import strategies as st

from dvla.runtime.playback import KnotTrack
from dvla.runtime.pose import Float64
from dvla.runtime.rotation import rotate, rotation_between
from dvla.runtime.stopping import (
    PATH_C1_END,
    PATH_C2_END,
    StopMotion,
    limits_by_order,
    stop_duration,
    stop_peak_speed,
)

BOUNDS = limits_by_order(LIMITS.envelope)
DIRECTION = st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda v: sum(x * x for x in v) > 1e-3)
SHARE = st.floats(0.0, 1.0)


def vectors(directions: list[tuple[float, float, float]], sizes: list[float]) -> Float64:
    unit = np.array(directions) / np.linalg.norm(directions, axis=1, keepdims=True)
    return unit * np.array(sizes)[:, None]


MOTIONS = st.builds(
    lambda d, s: (
        vectors(d[:2], [s[0] * BOUNDS[0, 0], s[1] * BOUNDS[0, 1]]),
        vectors(d[2:], [s[2] * BOUNDS[1, 0], s[3] * BOUNDS[1, 1]]),
    ),
    st.lists(DIRECTION, min_size=4, max_size=4),
    st.lists(SHARE, min_size=4, max_size=4),
)


def sampled(
    velocity: Float64, acceleration: Float64, step_ns: int = 1_000_000, rows_max: int = 10_000
) -> Float64:
    stop = StopMotion(HOME, velocity.ravel(), acceleration.ravel(), 0, LIMITS.envelope)
    rows = np.empty((min(stop.end_ns // step_ns + 3, rows_max), 8))
    for i, row in enumerate(rows):
        stop.evaluate(i * step_ns, row)
    return rows


@settings(max_examples=150, deadline=None)
@given(motion=MOTIONS)
def test_a_stop_keeps_acceleration_and_jerk_and_ends_at_rest(
    motion: tuple[Float64, Float64],
) -> None:
    velocity, acceleration = motion
    rows = sampled(velocity, acceleration)
    worst = motion_extremes(1e-3, rows[:-2])
    assert worst[1, 0] <= BOUNDS[1, 0] * 1.001
    assert worst[1, 1] <= BOUNDS[1, 1] * 1.001
    assert worst[2, 0] <= BOUNDS[2, 0] * 1.01
    assert np.array_equal(rows[-1], rows[-2])


@settings(max_examples=60, deadline=None)
@given(motion=MOTIONS)
def test_a_stop_begins_with_the_motion_that_the_arm_has(motion: tuple[Float64, Float64]) -> None:
    velocity, acceleration = motion
    rows = sampled(velocity, acceleration, step_ns=1000, rows_max=3)
    assert np.array_equal(rows[0, :3], HOME[:3])
    moved = rows[1] - rows[0]
    turn = rotation_between(rows[0, 3:7], rows[1, 3:7])
    assert np.allclose(moved[:3] / 1e-6, velocity[0], atol=1e-3)
    assert np.allclose(turn / 1e-6, velocity[1], atol=1e-3)
    bend = (rows[2] - 2 * rows[1] + rows[0])[:3] / 1e-12
    assert np.allclose(bend, acceleration[0], atol=1e-2 + 1e-3 * BOUNDS[2, 0])


@settings(max_examples=60, deadline=None)
@given(motion=MOTIONS)
def test_a_stop_stays_within_the_box_and_the_speed_that_the_gate_checks(
    motion: tuple[Float64, Float64],
) -> None:
    velocity, acceleration = motion
    rows = sampled(velocity, acceleration)
    speed = np.linalg.norm(velocity, axis=1)
    change = np.linalg.norm(acceleration, axis=1)
    duration = stop_duration(speed, change, BOUNDS)
    coasting = velocity[0] * duration[0] * PATH_C1_END
    pushing = acceleration[0] * duration[0] ** 2 * PATH_C2_END
    upper = np.maximum(coasting, 0) + np.maximum(pushing, 0)
    lower = np.minimum(coasting, 0) + np.minimum(pushing, 0)
    path = rows[:, :3] - HOME[:3]
    assert (path <= upper + 1e-9).all()
    assert (path >= lower - 1e-9).all()
    peak = stop_peak_speed(velocity[None], acceleration[None], duration[None])[0]
    assert motion_extremes(1e-3, rows)[0, 0] <= peak[0] * 1.005 + 1e-9


@settings(max_examples=40, deadline=None)
@given(motion=MOTIONS, shorter=st.floats(0.5, 0.9))
def test_the_duration_is_not_longer_than_twice_the_least(
    motion: tuple[Float64, Float64], shorter: float
) -> None:
    velocity, _ = motion
    speed = np.linalg.norm(velocity, axis=1)
    duration = stop_duration(speed, np.zeros(2), BOUNDS)
    bang_bang = np.maximum(speed / BOUNDS[1], 2.0 * np.sqrt(speed / BOUNDS[2]))
    assert (duration <= 2.0 * bang_bang + 1e-9).all()
    assert shorter < 1.0


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.floats(-1.0, 1.0)] * 3), min_size=6, max_size=20),
    phase=st.floats(0.0, 1.0),
)
def test_playback_lies_in_the_hull_of_rows_and_differences(
    rows: list[tuple[float, float, float]], phase: float
) -> None:
    period_ns = 4_000_000
    knots = np.repeat(HOME[None], len(rows), axis=0)
    knots[:, :3] += np.cumsum(rows, axis=0) * 1e-3
    track = KnotTrack(knots[0])
    joint = track.joint(period_ns, period_ns, len(knots), 0)
    track.splice(joint, knots, period_ns)
    now_ns = int((1.0 + phase * (len(rows) - 3)) * period_ns)
    setpoint, twist, acceleration = track.motion(now_ns)
    played = np.concatenate([joint.kept, knots[joint.first_row :]])[:, :3]
    velocity = np.diff(played, axis=0) / 0.004
    change = np.diff(velocity, axis=0) / 0.004
    for value, hull in ((setpoint[:3], played), (twist[:3], velocity), (acceleration[:3], change)):
        assert (value <= hull.max(axis=0) + 1e-9).all()
        assert (value >= hull.min(axis=0) - 1e-9).all()


@settings(max_examples=60, deadline=None)
@given(turn=st.tuples(*[st.floats(-1.7, 1.7)] * 3))
def test_rotate_and_rotation_between_are_inverse(turn: tuple[float, float, float]) -> None:
    start = np.array([0.5, 0.5, -0.5, 0.5])
    end = rotate(np.array(turn), start)
    assert np.allclose(rotation_between(start, end), turn, atol=1e-9)
    assert np.allclose(rotation_between(start, -end), turn, atol=1e-9)
