"""The shaper: bounds from any state, exact arrival, no lag, stops, Ruckig, its twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins.allocations import assert_allocation_free
from twins.rotations import exponential, rotation_between
from twins.shaper import Bounds, ShaperTwin

from dvla.bindings import PoseShaper, ShaperLimits

H = 0.004
LINEAR = Bounds(1.0, 4.0, 40.0)
ANGULAR = Bounds(2.0, 8.0, 80.0)
REST = np.array([0.0, 0, 0, 1, 0, 0, 0, 1])
STILL = np.zeros(6)
seeds = st.integers(0, 2**32 - 1)


def make_shaper(period_s=H, linear=LINEAR, angular=ANGULAR):
    shaper = PoseShaper(
        ShaperLimits(
            linear_velocity=linear.v, linear_acceleration=linear.a, linear_jerk=linear.j,
            angular_velocity=angular.v, angular_acceleration=angular.a, angular_jerk=angular.j,
        ),
        period_s,
    )  # fmt: skip
    shaper.reset(REST)
    return shaper


def make_target(rng, reach_m=0.5):
    target = np.concatenate([rng.uniform(-reach_m, reach_m, 3), rng.normal(size=4), [1.0]])
    target[3:7] /= np.linalg.norm(target[3:7])
    return target


def excess(values, bounds):
    """Return the worst overstepping of norm bounds, relative, per (n, 3) array."""
    norms = [np.linalg.norm(value, axis=1).max() for value in values]
    return max(norm / bound - 1 for norm, bound in zip(norms, bounds, strict=True))


def check_bounds(shaper, steps):
    """Run the steps and assert the bounds on the state and on what was emitted."""
    positions, turns = [shaper.setpoint], []
    twists, accelerations = [shaper.twist], [shaper.acceleration]
    out = np.empty(8)
    for step in steps:
        step(shaper, out)
        turns.append(rotation_between(positions[-1][3:7], out[3:7]))
        positions.append(out.copy())
        twists.append(shaper.twist)
        accelerations.append(shaper.acceleration)
    h = shaper.period_s
    twist, acceleration = np.array(twists), np.array(accelerations)
    jerk = np.diff(acceleration, axis=0) / h
    for part, bounds in ((slice(0, 3), LINEAR), (slice(3, 6), ANGULAR)):
        state = twist[:, part], acceleration[:, part], jerk[:, part]
        assert excess(state, bounds) < 1e-9
    x = np.array(positions)[:, :3]
    # A position is rounded to 1e-16 m; its third difference at 4 ms sees that as 1e-8 m/s3.
    emitted = [np.diff(x, n=n, axis=0) / h**n for n in (1, 2, 3)]
    assert excess(emitted, LINEAR) < 1e-8
    omega = np.array(turns) / h
    # Quaternions lose more digits than positions do.
    emitted = [omega, np.diff(omega, axis=0) / h, np.diff(omega, n=2, axis=0) / h**2]
    assert excess(emitted, ANGULAR) < 1e-6


@settings(deadline=None, max_examples=60)
@given(seeds, st.sampled_from([0.02, 0.2, 1.0]), st.sampled_from([0.0, 0.5, 3.0]))
def test_bounds_hold_wherever_the_target_jumps(seed, jump_rate, speed):
    rng = np.random.default_rng(seed)
    state = {"target": REST, "twist": STILL}

    def step(shaper, out):
        if rng.random() < jump_rate:
            state["target"], state["twist"] = make_target(rng), rng.normal(0, speed, 6)
        if rng.random() < 0.02:
            shaper.stop_step(out)
        else:
            shaper.step(state["target"], state["twist"], out)

    check_bounds(make_shaper(), [step] * 200)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(0, 150))
def test_a_target_at_rest_is_reached_exactly_and_kept(seed, ticks_before):
    rng = np.random.default_rng(seed)
    shaper, out = make_shaper(), np.empty(8)
    elsewhere, target = make_target(rng), make_target(rng)
    for _ in range(ticks_before):
        shaper.step(elsewhere, STILL, out)
    for _ in range(2500):
        shaper.step(target, STILL, out)
    np.testing.assert_allclose(out[:3], target[:3], atol=1e-12)
    assert np.linalg.norm(rotation_between(out[3:7], target[3:7])) < 1e-9
    assert not shaper.twist.any()
    assert not shaper.acceleration.any()
    assert shaper.step(target, STILL, out) == 0


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_a_move_from_rest_is_straight_and_monotone(seed):
    rng = np.random.default_rng(seed)
    shaper, out = make_shaper(), np.empty(8)
    target = make_target(rng)
    distance = np.linalg.norm(target[:3])
    direction = target[:3] / distance
    along = 0.0
    for _ in range(1500):
        shaper.step(target, STILL, out)
        progress = out[:3] @ direction
        assert along - 1e-12 <= progress <= distance + 1e-9
        assert np.linalg.norm(out[:3] - progress * direction) < 0.02 * distance
        along = progress
    assert along == pytest.approx(distance)


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_smooth_targets_are_tracked_without_lag(scale):
    """0.7 m/s and 2.2 m/s2 at full scale, below the bounds; the shaper starts at rest."""
    shaper, out = make_shaper(), np.empty(8)
    for k in range(2000):
        t = k * H
        phase = np.array([3.1, 4.1, 1.0]) * t
        amplitude = scale * np.array([0.2, 0.08, 0.05])
        theta, rate = 0.3 * np.sin(3.1 * t), 0.93 * np.cos(3.1 * t)
        target = np.concatenate([amplitude * np.sin(phase), exponential(np.array([theta, 0, 0]))])
        velocity = amplitude * np.array([3.1, 4.1, 1.0]) * np.cos(phase)
        bits = shaper.step(np.append(target, 1), np.array([*velocity, rate, 0, 0]), out)
        if k > 1000:
            assert np.linalg.norm(out[:3] - target[:3]) < 1e-9
            assert np.linalg.norm(rotation_between(out[3:7], target[3:7])) < 1e-7
            assert bits == 0


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_a_target_of_constant_velocity_is_caught(seed):
    rng = np.random.default_rng(seed)
    shaper, out = make_shaper(), np.empty(8)
    start, velocity = rng.uniform(-0.3, 0.3, 3), rng.normal(size=3)
    velocity *= rng.uniform(0, 0.6) / np.linalg.norm(velocity)
    for k in range(2000):
        target = np.concatenate([start + velocity * k * H, [1, 0, 0, 0, 0]])
        shaper.step(target, np.concatenate([velocity, np.zeros(3)]), out)
    np.testing.assert_allclose(out[:3], target[:3], atol=1e-9)
    np.testing.assert_allclose(shaper.twist[:3], velocity, atol=1e-12)


def wander(shaper, rng, ticks):
    """Bring the shaper to some state that it can reach."""
    target, out = make_target(rng), np.empty(8)
    for k in range(ticks):
        if k % 40 == 39:
            target = make_target(rng)
        shaper.step(target, STILL, out)


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(1, 200))
def test_a_stop_ends_at_rest_within_its_bounds_and_stays(seed, ticks):
    shaper = make_shaper()
    wander(shaper, np.random.default_rng(seed), ticks)
    rested = []
    check_bounds(shaper, [lambda s, out: rested.append(s.stop_step(out))] * 600)
    assert rested == sorted(rested)
    assert rested[-1]
    assert not shaper.twist.any()
    before, out = shaper.setpoint, np.empty(8)
    assert shaper.stop_step(out)
    np.testing.assert_array_equal(out, before)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 60))
def test_a_straight_stop_never_turns_back_and_is_as_short_as_can_be(seed, ticks):
    """Compare with the closed form: acceleration ramps to zero, then a trapezoid to velocity 0."""
    rng = np.random.default_rng(seed)
    shaper, out = make_shaper(), np.empty(8)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    for _ in range(ticks):
        shaper.step(np.concatenate([direction, [1, 0, 0, 0, 0]]), STILL, out)
    start = shaper.setpoint[:3] @ direction
    v, a = shaper.twist[:3] @ direction, shaper.acceleration[:3] @ direction
    _, a_max, jerk = LINEAR
    top = v + a * a / (2 * jerk)
    ramp = v * a / jerk + a**3 / (3 * jerk**2)
    peak = min(a_max, np.sqrt(jerk * top))
    shortest = ramp + top / 2 * (top / peak + peak / jerk)
    last = start
    while not shaper.stop_step(out):
        assert out[:3] @ direction >= last - 1e-12
        last = out[:3] @ direction
    # Shares keep 0.05 for idle axes; bounds lose at most 0.4 % by that.
    assert out[:3] @ direction - start <= 1.01 * shortest + 1e-9


def ruckig_duration_s(position, velocity, acceleration, target):
    """Return the time of Ruckig's optimum for one axis."""
    ruckig = pytest.importorskip("ruckig", reason="Ruckig has no wheel for this machine")
    problem = ruckig.InputParameter(1)
    problem.current_position, problem.current_velocity = [position], [velocity]
    problem.current_acceleration = [acceleration]
    problem.target_position, problem.target_velocity = [target], [0.0]
    problem.target_acceleration = [0.0]
    problem.max_velocity, problem.max_acceleration, problem.max_jerk = (
        [LINEAR.v], [LINEAR.a], [LINEAR.j],
    )  # fmt: skip
    trajectory = ruckig.Trajectory(1)
    ruckig.Ruckig(1).calculate(problem, trajectory)
    return trajectory.duration


def check_against_ruckig(shaper, target, axis):
    """Assert that the rest of a move takes at most 3 % and two periods more than Ruckig's."""
    optimal_s = ruckig_duration_s(
        shaper.setpoint[axis], shaper.twist[axis], shaper.acceleration[axis], target[axis]
    )
    out, ticks = np.empty(8), 0
    while shaper.twist.any() or ticks == 0 or abs(out[axis] - target[axis]) > 1e-12:
        shaper.step(target, STILL, out)
        ticks += 1
        assert ticks < 5000
    assert optimal_s - 1e-9 <= ticks * H <= 1.03 * optimal_s + 2 * H
    np.testing.assert_allclose(out, target, atol=1e-12)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2), st.floats(-4, 0), st.booleans())
def test_a_move_from_rest_is_nearly_as_fast_as_ruckig(axis, exponent, negative):
    target = REST.copy()
    target[axis] = (-1 if negative else 1) * 10**exponent
    check_against_ruckig(make_shaper(), target, axis)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.integers(1, 150))
def test_a_retargeted_move_is_nearly_as_fast_as_ruckig(axis, first, second, ticks):
    shaper, out = make_shaper(), np.empty(8)
    target = REST.copy()
    target[axis] = first
    for _ in range(ticks):
        shaper.step(target, STILL, out)
    target[axis] = second
    check_against_ruckig(shaper, target, axis)


@settings(deadline=None, max_examples=25)
@given(seeds, st.floats(0, 0.5), st.floats(0, 1.0))
def test_agrees_with_its_twin(seed, jump_rate, speed):
    rng = np.random.default_rng(seed)
    shaper, twin = make_shaper(), ShaperTwin(LINEAR, ANGULAR, H)
    target, twist, out = REST, STILL, np.empty(8)
    for _ in range(25):
        if rng.random() < jump_rate:
            target, twist = make_target(rng), rng.normal(0, speed, 6)
        if rng.random() < 0.1:
            shaper.stop_step(out)
            expected = twin.stop_step()
        else:
            shaper.step(target, twist, out)
            expected = twin.step(target, twist)
        np.testing.assert_allclose(out[:3], expected[:3], atol=1e-9)
        assert np.linalg.norm(rotation_between(out[3:7], expected[3:7])) < 1e-7
        np.testing.assert_allclose(shaper.twist[:3], twin.linear.v, atol=1e-6)
        np.testing.assert_allclose(shaper.twist[3:], twin.angular.v, atol=1e-6)


def test_a_copy_of_the_state_goes_the_same_way():
    shaper, ghost = make_shaper(), make_shaper()
    wander(shaper, np.random.default_rng(0), 50)
    ghost.copy_state_from(shaper)
    ours, theirs = np.empty(8), np.empty(8)
    for _ in range(50):
        shaper.step(REST, STILL, ours)
        ghost.step(REST, STILL, theirs)
        np.testing.assert_array_equal(ours, theirs)


def test_saturation_names_the_bound():
    shaper, out = make_shaper(), np.empty(8)
    target = REST.copy()
    target[0] = 2.0
    seen = [shaper.step(target, STILL, out) for _ in range(400)]
    assert seen[0] == PoseShaper.SATURATED_JERK
    assert PoseShaper.SATURATED_ACCELERATION in seen
    assert PoseShaper.SATURATED_VELOCITY in seen


def test_the_gripper_passes_through_and_steps_allocate_nothing():
    shaper, out = make_shaper(), np.empty(8)
    target = make_target(np.random.default_rng(1))
    target[7] = -1
    shaper.step(target, STILL, out)
    assert out[7] == -1
    assert_allocation_free(lambda: shaper.step(target, STILL, out))
    assert_allocation_free(lambda: shaper.stop_step(out))


@pytest.mark.parametrize(
    ("target", "twist", "out", "message"),
    [
        (np.zeros(7), STILL, np.empty(8), "expected \\(8,\\)"),
        (REST * np.nan, STILL, np.empty(8), "not finite"),
        (np.zeros(8), STILL, np.empty(8), "quaternion"),
        (REST, np.zeros(5), np.empty(8), "expected \\(6,\\)"),
        (REST, STILL + np.inf, np.empty(8), "not finite"),
        (REST, STILL, np.empty(9), "expected \\(8,\\)"),
        (REST.astype(np.float32), STILL, np.empty(8), "dtype mismatch"),
    ],
)
def test_step_refuses(target, twist, out, message):
    with pytest.raises(ValueError, match=message):
        make_shaper().step(target, twist, out)


def test_limits_and_period_are_checked():
    with pytest.raises(ValueError, match="linear_jerk"):
        make_shaper(linear=Bounds(1, 1, 0))
    with pytest.raises(ValueError, match="angular_velocity"):
        make_shaper(angular=Bounds(np.inf, 1, 1))
    with pytest.raises(ValueError, match="period_s"):
        make_shaper(period_s=0)
