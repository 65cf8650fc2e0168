"""Observations: one capture time, history by time, the state where the frame is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dvla.runtime.assembler import ObservationAssembler
from dvla.runtime.errors import StaleObservation
from dvla.runtime.pose import setpoints_from_actions
from dvla.runtime.processes.policy import history_words
from dvla.runtime.state_buffer import StateBuffer

MS = 1_000_000


class Frames:
    """A camera of plain frames; the pixel value is the frame's number."""

    def __init__(self, times_ms: list[float]) -> None:
        self.rows = [(i + 1, round(t * MS)) for i, t in enumerate(times_ms)]

    def times(self) -> list[tuple[int, int]]:
        return self.rows

    def read(self, sequence: int) -> NDArray[np.uint8]:
        return np.full((2, 2, 3), sequence, np.uint8)


def setpoint(x: float, rz: float = 0.0) -> NDArray[np.float64]:
    """Return a setpoint at x with a turn about z."""
    return setpoints_from_actions(np.array([[x, 0, 0, 0, 0, rz, 1.0]]))[0]


def moving_states(until_ms: int = 2000) -> StateBuffer:
    """Return states every 10 ms of an arm that moves 1 mm/ms along x."""
    states = StateBuffer()
    for t_ms in range(0, until_ms, 10):
        states.add(t_ms * MS, setpoint(t_ms / 1000))
    return states


def assembler(*cameras: Frames, states: StateBuffer | None = None) -> ObservationAssembler:
    """Return an assembler of cameras a, b, ..."""
    named = {chr(ord("a") + i): camera for i, camera in enumerate(cameras)}
    return ObservationAssembler(named, moving_states() if states is None else states)


def test_history_goes_by_time_when_frames_were_lost() -> None:
    # Frames at 0, 40, 80, then three lost, then 240: counting frames would take 80 for t - 80 ms.
    with pytest.raises(StaleObservation, match="-80 ms"):
        assembler(Frames([0, 40, 80, 240])).assemble("go")
    observation = assembler(Frames([0, 40, 80, 160, 240])).assemble("go")
    assert observation.images["a"][:, 0, 0, 0].tolist() == [4, 5]


def test_the_state_is_interpolated_to_the_frame() -> None:
    observation = assembler(Frames([915.0, 954.5, 995.0])).assemble("go")
    assert observation.t_obs_ns == 995 * MS
    np.testing.assert_allclose(observation.state[:, 0], [0.915, 0.995], atol=1e-6)


def test_the_offset_of_a_history_frame_is_recorded() -> None:
    observation = assembler(Frames([900.0, 933.3, 966.7, 1000.0])).assemble("go")
    assert observation.history_offset_ns == (round(13.3 * MS), 0)


def test_an_observation_waits_for_the_slowest_camera() -> None:
    fast, slow = Frames([0, 40, 80, 120, 160]), Frames([0, 40, 80, 120])
    observation = assembler(fast, slow).assemble("go")
    assert observation.t_obs_ns == 120 * MS
    assert observation.images["a"][-1, 0, 0, 0] == observation.images["b"][-1, 0, 0, 0] == 4


def test_at_the_start_of_an_episode_history_is_clamped_to_its_first_frame() -> None:
    frames = Frames([0, 40, 80, 120, 160])
    observation = assembler(frames).assemble("go", not_before_ns=100 * MS)
    assert observation.images["a"][:, 0, 0, 0].tolist() == [4, 5]
    with pytest.raises(StaleObservation, match="episode"):
        assembler(frames).assemble("go", not_before_ns=161 * MS)


def test_states_that_do_not_cover_the_frame_are_refused() -> None:
    with pytest.raises(StaleObservation, match="capture time"):
        assembler(Frames([2200, 2240, 2280]), states=moving_states()).assemble("go")
    with pytest.raises(StaleObservation, match="not reported"):
        assembler(Frames([0, 40, 80]), states=StateBuffer()).assemble("go")


@given(st.floats(-3.1, 3.1), st.floats(-3.1, 3.1), st.floats(0, 1))
def test_a_state_between_two_lies_on_the_shorter_arc(a: float, b: float, share: float) -> None:
    states = StateBuffer()
    states.add(0, setpoint(0.0, a))
    states.add(10 * MS, setpoint(1.0, b))
    state = states.state_at(round(share * 10 * MS))
    turn = (b - a + np.pi) % (2 * np.pi) - np.pi
    expected = (a + share * turn) % (2 * np.pi)
    off = (state[5] - expected + np.pi) % (2 * np.pi) - np.pi
    if abs(abs(turn) - np.pi) > 1e-3:  # opposite: both arcs are the shorter one
        assert abs(off) < 1e-4
    assert 0.0 <= state[5] < 2 * np.pi + 1e-6


def test_a_seventh_column_is_the_gripper() -> None:
    states = StateBuffer()
    states.add(0, setpoint(0.5))
    assert states.state_at(0, width=7)[6] == 1.0


def test_the_offset_of_the_history_is_told_in_words() -> None:
    assert history_words([], 0.025) == ""
    words = history_words([0, 6 * MS, 7 * MS, 13 * MS], 0.025)
    assert "4 observations were p50 6.5, p95 12.1 ms" in words and "25 ms" in words
