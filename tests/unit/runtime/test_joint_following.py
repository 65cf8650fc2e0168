"""Following setpoints with joints: whatever comes, none leaves its range or exceeds its limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import mutant

from dvla.bindings import FACTS
from dvla.runtime import ik as ik_module
from dvla.runtime.ik import DifferentialIk, make_chain
from dvla.runtime.limits import JointLimits
from dvla.runtime.pose import Float64
from dvla.runtime.robots.franka_geometry import FRANKA_JOINTS, FRANKA_TWIN_JOINTS
from dvla.runtime.robots.piper.limits import PIPER_JOINTS

ARMS = {"franka": FRANKA_JOINTS, "twin": FRANKA_TWIN_JOINTS, "piper": PIPER_JOINTS}
TICK_NS = 4_000_000


def pose_of(limits: JointLimits, q: Float64) -> Float64:
    pose = np.zeros(8)
    make_chain(limits).tcp(np.ascontiguousarray(q), pose[:7])
    return pose


def assert_kept(limits: JointLimits, path: Float64, period_s: float) -> None:
    """Assert range, speed, acceleration and jerk of a path (m, n) that begins at rest."""
    lower, upper = np.array(limits.lower), np.array(limits.upper)
    assert (path >= lower + limits.margin_rad - 1e-9).all()
    assert (path <= upper - limits.margin_rad + 1e-9).all()
    rate = np.diff(path, axis=0, prepend=path[:1]) / period_s
    assert (np.abs(rate) <= (1.0 + 1e-9) * np.array(limits.velocity)).all()
    change = np.diff(rate, axis=0, prepend=rate[:1]) / period_s
    assert (np.abs(change) <= (1.0 + 1e-6) * np.array(limits.acceleration)).all()
    third = np.diff(change, axis=0) / period_s
    assert (np.abs(third) <= (1.0 + 1e-6) * np.array(limits.jerk)).all()


@pytest.mark.parametrize("arm", ARMS)
@settings(max_examples=60, deadline=None)
@given(
    goals=st.lists(st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7), min_size=1, max_size=4),
    period_s=st.sampled_from([0.001, 0.004, 0.02]),
)
def test_joints_keep_their_limits_however_setpoints_jump(
    arm: str, goals: list[list[float]], period_s: float
) -> None:
    limits = ARMS[arm]
    n = len(limits.lower)
    low = np.array(limits.lower) + limits.margin_rad
    span = np.array(limits.upper) - limits.margin_rad - low
    ik = DifferentialIk(period_s, limits)
    path = [ik.q]
    for shares in goals:
        pose = pose_of(limits, low + np.array(shares[:n]) * span)
        path += [ik.step(pose)[0] for _ in range(60)]
    assert_kept(limits, np.array(path), period_s)


@settings(max_examples=40, deadline=None)
@given(
    away=st.tuples(*[st.floats(-0.08, 0.08)] * 3),
    duration_s=st.floats(1.0, 1.5),
    elbow=st.floats(-0.6, 0.6),
)
def test_the_pose_does_not_wait_for_the_elbow(
    away: tuple[float, float, float], duration_s: float, elbow: float
) -> None:
    limits = FRANKA_JOINTS
    ik = DifferentialIk(0.004, limits)
    start = pose_of(limits, ik.q)
    bent = ik.q + elbow * np.array([1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0])
    at = np.empty((1, 7))  # the same pose, with the elbow elsewhere
    make_chain(limits).follow(bent, start[None], at, np.empty((1, FACTS)), 4)
    ik.reset(at[0])
    path, lag_m = [at[0]], [0.0]
    for s in np.linspace(0.0, 1.0, round(duration_s / 0.004)):
        pose = start.copy()
        pose[:3] += (10 * s**3 - 15 * s**4 + 6 * s**5) * np.array(away)
        q, left_m = ik.step(pose)
        path.append(q)
        lag_m.append(left_m)
    assert_kept(limits, np.array(path), 0.004)
    assert max(lag_m) < 1e-4


@pytest.mark.parametrize("period_s", [0.001, 0.004])
@pytest.mark.parametrize("arm", ARMS)
def test_what_it_lags_by_is_caught_up_without_swinging(arm: str, period_s: float) -> None:
    """A setpoint jumps by 3 cm: the arm comes to it once, and stays."""
    limits = ARMS[arm]
    ik = DifferentialIk(period_s, limits)
    start = pose_of(limits, ik.q)
    goal = start.copy()
    goal[:3] += (0.02, 0.02, 0.01)
    left_m = [ik.step(goal)[1] for _ in range(round(1.0 / period_s))]
    assert left_m[-1] < 5e-5
    arrived = next(index for index, left in enumerate(left_m) if left < 1e-3)
    assert max(left_m[arrived:]) < 1.5e-3
    assert arrived * period_s < 0.6
    assert np.diff(left_m[:arrived]).max() < 1e-6  # never away from it


@pytest.mark.parametrize("period_s", [0.001, 0.004])
def test_all_at_once_it_would_swing(period_s: float) -> None:
    """What the test above is about: from the speed of going at all that is left, none can brake."""

    def left_after_a_second_m(*, all_at_once: bool) -> float:
        ik = DifferentialIk(period_s, FRANKA_JOINTS)
        goal = pose_of(FRANKA_JOINTS, ik.q)
        goal[0] += 0.1
        for _ in range(round(1.0 / period_s)):
            if all_at_once:
                ik._owed[:] = 0.0
            _, left_m = ik.step(goal)
        return left_m

    assert left_after_a_second_m(all_at_once=False) < 1e-4
    assert left_after_a_second_m(all_at_once=True) > 1e-2


def test_a_late_call_and_an_early_one_after_it_do_not_disturb_a_path() -> None:
    """Setpoints belong to the times of the calls: those of a busy host are not evenly spaced."""

    def apart_m(module: object) -> float:
        ik: DifferentialIk = module.DifferentialIk(0.004, FRANKA_JOINTS)  # type: ignore[attr-defined]
        start = pose_of(FRANKA_JOINTS, ik.q)
        rng = np.random.default_rng(3)
        late_ns = rng.integers(0, 3_500_000, 400)
        worst_m = 0.0
        for tick in range(400):
            now_ns = 10**9 + tick * TICK_NS + int(late_ns[tick])
            share = (now_ns - 10**9) / (400 * TICK_NS)
            pose = start.copy()
            pose[1] += 0.3 * (3.0 * share**2 - 2.0 * share**3)
            worst_m = max(worst_m, ik.step(pose, now_ns)[1])
        return worst_m

    assert apart_m(ik_module) < 2e-4
    old = "if now_ns is not None and self._last_ns is not None:"
    assert apart_m(mutant(ik_module, old, "if False:")) > 5e-4


def test_nothing_changes_for_a_path_within_the_limits() -> None:
    """Lag is for where limits bind: elsewhere each setpoint is met in its own step."""
    ik, chain = DifferentialIk(0.004, FRANKA_JOINTS), make_chain(FRANKA_JOINTS)
    q = ik.q
    share = np.linspace(0.0, 1.0, 400)
    rows = np.repeat(pose_of(FRANKA_JOINTS, q)[None], 400, axis=0)
    rows[:, 0] += 0.1 * (3.0 * share**2 - 2.0 * share**3)
    free, facts = np.empty((400, 7)), np.empty((400, FACTS))
    chain.follow(q, rows, free, facts, 1, 0.004, np.full(7, np.inf))
    np.testing.assert_array_equal(np.array([ik.step(row)[0] for row in rows]), free)
