"""Interpolation: agreement with its twin, the derivative, continuity, overshoot, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import interpolation as twin
from twins.rotations import exponential, rotation_between

from dvla.bindings import interpolate

NS = 1_000_000_000


@st.composite
def timelines(draw, least=2, most=9):
    """Draw knots at irregular times, steps up to 0.2 m and 1.5 rad."""
    count = draw(st.integers(least, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    t_ns = 10**15 + np.cumsum(rng.integers(2_000_000, 80_000_000, count))
    rows = np.zeros((count, 8))
    rows[:, :3] = np.cumsum(rng.normal(0, 0.05, (count, 3)) * rng.integers(0, 2, (count, 1)), 0)
    turn = rng.normal(0, 0.4, (count, 3)) * rng.integers(0, 2, (count, 1))
    rows[0, 3:7] = exponential(rng.normal(0, 1, 3))
    for i in range(1, count):
        rows[i, 3:7] = twin.rotate_by(turn[i], rows[i - 1, 3:7]) * rng.choice([-1, 1])
    rows[:, 7] = rng.choice([-1.0, 1.0], count)
    return t_ns.astype(np.int64), rows


def sample(t_ns, rows, now_ns):
    setpoint, twist = np.empty(8), np.empty(6)
    interpolate(t_ns, rows, int(now_ns), setpoint, twist)
    return setpoint, twist


@given(timelines(least=1), st.floats(-0.1, 1.1))
def test_agrees_with_its_twin(timeline, where):
    t_ns, rows = timeline
    now_ns = int(t_ns[0] + where * (t_ns[-1] - t_ns[0]))
    setpoint, twist = sample(t_ns, rows, now_ns)
    expected, expected_twist = twin.interpolate(t_ns, rows, now_ns)
    np.testing.assert_allclose(setpoint[[0, 1, 2, 7]], expected[[0, 1, 2, 7]], atol=1e-12)
    assert np.linalg.norm(rotation_between(setpoint[3:7], expected[3:7])) < 1e-7
    np.testing.assert_allclose(twist, expected_twist, atol=1e-7, rtol=1e-7)


@given(timelines(), st.floats(0.001, 0.999))
def test_twist_is_the_derivative_of_the_pose(timeline, where):
    t_ns, rows = timeline
    now_ns = int(t_ns[0] + where * (t_ns[-1] - t_ns[0]))
    step_ns = 1000
    if np.abs(t_ns - now_ns).min() <= step_ns:
        return  # the second derivative jumps at knots; C1 there has its own test
    _, twist = sample(t_ns, rows, now_ns)
    before, _ = sample(t_ns, rows, now_ns - step_ns)
    after, _ = sample(t_ns, rows, now_ns + step_ns)
    width_s = 2e-9 * step_ns
    np.testing.assert_allclose((after[:3] - before[:3]) / width_s, twist[:3], atol=1e-4)
    turn = rotation_between(before[3:7], after[3:7]) / width_s
    # 2e-6 rad apart, a rotation is known to 1e-16: 1e-4 rad/s of noise at most.
    np.testing.assert_allclose(turn, twist[3:], atol=1e-3, rtol=1e-5)


@given(timelines(least=3))
def test_pose_and_twist_are_continuous_at_knots(timeline):
    t_ns, rows = timeline
    for i in range(1, len(t_ns) - 1):
        before, twist_before = sample(t_ns, rows, t_ns[i] - 1)
        after, twist_after = sample(t_ns, rows, t_ns[i])
        np.testing.assert_allclose(after[:3], rows[i, :3], atol=1e-12)
        assert np.linalg.norm(rotation_between(after[3:7], rows[i, 3:7])) < 1e-9
        np.testing.assert_allclose(before[:3], after[:3], atol=1e-6)
        # 1.5 rad in 2 ms end with up to 1e7 rad/s2: 1e-2 rad/s in the nanosecond between the two.
        np.testing.assert_allclose(twist_before, twist_after, atol=1e-2)


@settings(max_examples=50)
@given(timelines(least=3), st.floats(0.0, 1.0))
def test_never_leaves_the_neighbourhood_of_its_two_knots(timeline, s):
    """Where |m| <= 3 |step| / width, a segment stays within sqrt(2) steps of its left knot."""
    t_ns, rows = timeline
    for i in range(1, len(t_ns) - 2):
        now_ns = t_ns[i] + int(s * (t_ns[i + 1] - t_ns[i]))
        setpoint, _ = sample(t_ns, rows, now_ns)
        step = np.linalg.norm(rows[i + 1, :3] - rows[i, :3])
        assert np.linalg.norm(setpoint[:3] - rows[i, :3]) <= np.sqrt(2) * step + 1e-12


def test_a_step_between_two_rests_does_not_overshoot():
    t_ns = np.arange(6, dtype=np.int64) * 40_000_000
    rows = np.zeros((6, 8))
    rows[:, 3] = 1
    rows[3:, :3] = 0.056, -0.02, 0.01
    along = [
        sample(t_ns, rows, t)[0][:3] @ rows[3, :3] / (rows[3, :3] @ rows[3, :3])
        for t in range(0, int(t_ns[-1]), 1_000_000)
    ]
    assert min(along) >= -1e-12
    assert max(along) <= 1 + 1e-12


def test_constant_twist_is_reproduced_exactly():
    t_ns = np.array([0, 40, 75, 130, 160], np.int64) * 1_000_000
    velocity, omega = np.array([0.3, -0.2, 0.1]), np.array([0.5, 0.2, -0.4])
    rows = np.zeros((5, 8))
    for i, t in enumerate(t_ns * 1e-9):
        rows[i, :3], rows[i, 3:7] = velocity * t, exponential(omega * t)
    for now_ns in range(0, 160_000_000, 7_000_001):
        setpoint, twist = sample(t_ns, rows, now_ns)
        np.testing.assert_allclose(setpoint[:3], velocity * now_ns * 1e-9, atol=1e-13)
        np.testing.assert_allclose(twist, np.concatenate([velocity, omega]), atol=1e-9)


def test_the_gripper_switches_half_way_between_knots():
    t_ns = np.array([0, 40_000_000], np.int64)
    rows = np.zeros((2, 8))
    rows[:, 3] = 1
    rows[:, 7] = -1, 1
    assert sample(t_ns, rows, 19_999_999)[0][7] == -1
    assert sample(t_ns, rows, 20_000_000)[0][7] == 1


def _rows(count):
    rows = np.zeros((count, 8))
    rows[:, 3] = 1
    return rows


@pytest.mark.parametrize(
    ("t_ns", "rows", "message"),
    [
        ([], _rows(0), "no knots"),
        ([1, 1], _rows(2), "rise strictly"),
        ([1, 2], _rows(3), "expected"),
        ([1, 2], _rows(2) * np.nan, "not finite"),
        ([1, 2], _rows(2) * 0, "quaternion"),
    ],
)
def test_refuses_what_no_timeline_may_hold(t_ns, rows, message):
    with pytest.raises(ValueError, match=message):
        interpolate(np.array(t_ns, np.int64), rows, 0, np.empty(8), np.empty(6))


@pytest.mark.parametrize(
    ("rows", "out"),
    [
        (_rows(2).astype(np.float32), np.empty(8)),
        (np.asfortranarray(_rows(2)), np.empty(8)),
        (_rows(2), np.empty(7)),
        (_rows(2), np.empty(8, np.float32)),
    ],
)
def test_refuses_wrong_dtype_layout_and_shape(rows, out):
    with pytest.raises(ValueError):
        interpolate(np.array([1, 2], np.int64), rows, 0, out, np.empty(6))
