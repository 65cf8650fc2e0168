"""The motion that set-ups are measured by: one path whoever asks when, slow, near its start."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvla.engines.errors import UsageError
from dvla.runtime.observation import Observation
from dvla.runtime.policy_entry import open_warmed_up
from dvla.runtime.stop_and_go import SPEED_M_S, StopAndGo, Way, open_policy

START_NS = 10**12
HOME = np.array([0.4, 0.1, 0.3, 3.1, 0.0, 6.2])


def seen(t_s: float, pose: np.ndarray = HOME) -> Observation:
    """Return an observation of an arm at a pose."""
    state = np.tile(pose, (2, 1)).astype(np.float32)
    return Observation(images={}, state=state, t_obs_ns=START_NS + round(t_s * 1e9))


def test_the_way_is_slow_stays_near_and_both_moves_and_rests() -> None:
    t_s = np.arange(0.0, 60.0, 0.004)
    places = Way(0.06)(t_s)
    speed = np.linalg.norm(np.diff(places, axis=0), axis=1) / 0.004
    assert 0.9 * SPEED_M_S < speed.max() <= SPEED_M_S * 1.001
    assert 0.1 < (speed < 1e-4).mean() < 0.6
    low, high = places.min(axis=0), places.max(axis=0)
    assert (low >= (0.0, -0.06, 0.0)).all() and (high <= (0.03, 0.06, 0.03)).all()
    assert (high - low > 0.02).all()
    assert not Way(0.06)(np.array([0.0, 1e6])).any(), "it begins and ends where it was found"


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 2000), st.integers(1, 19))
def test_chunks_of_one_motion_agree_wherever_they_overlap(step: int, later: int) -> None:
    policy = StopAndGo(0.06)
    first = policy.predict(seen(0.0)).actions
    assert np.allclose(first[0, :6], HOME, atol=1e-6)
    assert not first[:, 6].any(), "the gripper is left alone"
    one = policy.predict(seen(0.04 * step)).actions
    policy.reset()
    two = policy.predict(seen(0.04 * (step + later))).actions
    assert np.allclose(one[later:], two[: len(two) - later], atol=1e-6)


def test_it_begins_anew_where_it_is_found_far_off() -> None:
    policy = open_warmed_up("stop-and-go:20", {}, 2)
    first = policy.predict(seen(0.0)).actions
    assert np.allclose(first[0, :6], HOME, atol=1e-6), "the warm-up is no start"
    far = HOME + np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert np.allclose(policy.predict(seen(3.0, far)).actions[0, :6], far, atol=1e-6)
    # Where an angle is told a turn away the hand does not turn.
    turned = far + np.array([0.0, 0.0, 0.0, 0.0, 0.0, -6.2])
    assert abs(policy.predict(seen(3.04, turned)).actions[0, 5] - (6.2 - 2 * np.pi)) < 1e-5


@pytest.mark.parametrize("argument", ["5", "400", "far"])
def test_an_amplitude_that_it_may_not_have_is_refused(argument: str) -> None:
    with pytest.raises(UsageError, match=r"10 to 150 mm"):
        open_policy(argument)
