"""What a network takes of the observed states: the newest, or the newest and its motion."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvla.engines.bundle import read_bundle
from dvla.engines.errors import UsageError
from dvla.runtime.observation import Observation
from dvla.runtime.policy_checks import graph_state
from dvla.runtime.pose import state_input

NANO = "policies/nano.bundle"
angles = st.floats(0.0, 6.28)


@given(st.lists(angles, min_size=3, max_size=3), st.lists(st.floats(-3.1, 3.1), min_size=3))
def test_the_motion_goes_the_short_way_round(start: list[float], turn: list[float]) -> None:
    before = np.array([0.1, 0.2, 0.3, *start])
    after = np.add(before, [0.01, -0.02, 0.03, *turn[:3]])
    after[3:] %= 2 * np.pi
    taken = state_input(np.stack([before, after]), 12)
    assert taken[:6] == pytest.approx(after, abs=1e-6)
    assert taken[6:] == pytest.approx([0.01, -0.02, 0.03, *turn[:3]], abs=1e-5)


@pytest.mark.parametrize("width", [6, 7])
def test_without_motion_it_is_the_newest(width: int) -> None:
    states = np.arange(2 * width, dtype=np.float32).reshape(2, width)
    assert np.array_equal(state_input(states, width), states[1])
    assert np.array_equal(state_input(np.stack([states, states]), width)[1], states[1])


@pytest.mark.parametrize(("given", "width"), [(6, 7), (7, 12), (7, 14)])
def test_other_widths_are_refused(given: int, width: int) -> None:
    with pytest.raises(ValueError, match="do not make"):
        state_input(np.zeros((2, given)), width)


def test_a_policy_is_fed_what_its_bundle_says() -> None:
    facts = read_bundle(NANO).manifest.policy
    rows = np.array([[0.4, 0.0, 0.3, 3.1, 0.0, 6.2], [0.45, 0.0, 0.3, 3.1, 0.0, 0.1]], np.float32)
    seen = Observation(images={}, state=rows, instruction="")
    plain = msgspec.structs.replace(facts, state_motion=False)
    assert np.array_equal(graph_state(plain, seen), rows[1])
    moving = msgspec.structs.replace(facts, state_motion=True)
    taken = graph_state(moving, seen)
    assert taken.shape == (moving.state_input_width,) and taken.dtype == np.float32
    assert taken[6:] == pytest.approx([0.05, 0, 0, 0, 0, 0.1 - 6.2 + 2 * np.pi], abs=1e-6)
    wide = msgspec.structs.replace(seen, state=np.ones((2, 12), np.float32))
    with pytest.raises(UsageError, match="shape"):
        graph_state(moving, wide)
