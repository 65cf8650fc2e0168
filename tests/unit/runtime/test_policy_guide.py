"""A bundle's policy with a guide: what it does with the previous chunk, and what it refuses."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from bundle_tools import tiny_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scheduler_scenario import PERIOD_NS, Log

from dvla.engines.errors import UsageError
from dvla.runtime.chunk import Chunk
from dvla.runtime.config import SchedulerConfig
from dvla.runtime.events import InferenceStarted
from dvla.runtime.observation import Observation
from dvla.runtime.policy import Policy, absolute_actions, relative_actions
from dvla.runtime.policy_api import takes_guide
from dvla.runtime.policy_loop import PolicyLoop
from dvla.runtime.run_check import check
from dvla.runtime.run_config import RunConfig
from dvla.runtime.scheduler import Scheduler

CAMERAS = ("observation.images.opst_cam", "observation.images.wrist_cam")
STATE = np.array([[0.4, 0.0, 0.3, 3.0, 0.1, 6.2]] * 2, np.float32)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.load(tiny_bundle(), threads=1)


def see(state: NDArray[np.float32] = STATE) -> Observation:
    frames = np.full((2, 90, 120, 3), 90, np.uint8)
    return Observation(images=dict.fromkeys(CAMERAS, frames), state=state, instruction="go")


def guide(weight: float, kept: int = 20) -> dict[str, NDArray[np.float32]]:
    weights = np.zeros(20, np.float32)
    weights[:kept] = weight
    return {"prev_actions": np.zeros((20, 7), np.float32), "prev_weight": weights}


def test_zero_weights_change_nothing(policy: Policy) -> None:
    plain = policy.predict(see(), seed=3).actions
    np.testing.assert_array_equal(policy.predict(see(), seed=3, **guide(0.0)).actions, plain)
    assert np.abs(policy.predict(see(), seed=3, **guide(0.7)).actions - plain).max() > 1e-3


def test_a_chunk_of_weight_one_stays_where_it_is_as_the_arm_moves(policy: Policy) -> None:
    previous = policy.predict(see(), seed=1).actions
    std = np.array(policy.bundle.manifest.normalisation.action_std)
    moved = STATE + (0.1 * std[:6]).astype(np.float32)
    moved[:, 5] -= np.float32(2 * np.pi)  # The same pose, a turn of rz lower.
    weight = np.ones(20, np.float32)
    found = policy.predict(see(moved), seed=2, prev_actions=previous, prev_weight=weight).actions
    expected = previous.copy()
    expected[:, 5] -= 2 * np.pi
    # The state is a turn away from the old one: the target must be unwrapped near the new one.
    near = absolute_actions(expected, moved[-1], delta_columns=0)
    np.testing.assert_allclose(found, near, atol=2e-4)


@settings(deadline=None)
@given(
    st.lists(st.floats(-3, 3), min_size=7, max_size=7),
    st.lists(st.floats(0, 6.28), min_size=6, max_size=6),
    st.integers(-2, 2),
    st.sampled_from([0, 6]),
)
def test_relative_actions_invert_absolute_ones_up_to_turns(
    row: list[float], pose: list[float], turns: int, delta_columns: int
) -> None:
    state = np.array(pose, np.float32)
    absolute = absolute_actions(np.array([row], np.float32), state, delta_columns)
    turned = absolute.astype(np.float64)
    turned[:, [3, 5]] += 2 * np.pi * turns
    back = relative_actions(turned, state, delta_columns)
    again = absolute_actions(back.astype(np.float32), state, delta_columns)
    difference = again - absolute
    # Half a turn away from the state either side is as near.
    difference[:, [3, 5]] -= 2 * np.pi * np.round(difference[:, [3, 5]] / (2 * np.pi))
    np.testing.assert_allclose(difference, 0.0, atol=1e-4)
    offsets = back[:, [3, 5]] if delta_columns else back[:, [3, 5]] - state[[3, 5]]
    assert np.abs(offsets).max() <= np.pi + 1e-5


def test_a_target_far_from_anything_seen_is_clipped(policy: Policy) -> None:
    far = guide(1.0)
    far["prev_actions"] = far["prev_actions"] + np.float32(1e6)
    statistics = policy.bundle.manifest.normalisation
    reach = np.array(statistics.action_mean) + 10 * np.array(statistics.action_std)
    found = relative_actions(policy.predict(see(), seed=0, **far).actions, STATE[-1], 6)
    np.testing.assert_allclose(found[:, :3], np.tile(reach[:3], (20, 1)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prev_weight": None}, "Half a guide"),
        ({"prev_actions": None}, "Half a guide"),
        ({"prev_actions": np.zeros((19, 7), np.float32)}, r"prev_actions .*\[19, 7\].*\[20, 7\]"),
        ({"prev_actions": np.zeros((20, 7), np.int64)}, "int64"),
        ({"prev_actions": np.full((20, 7), np.nan, np.float32)}, "prev_actions is not finite"),
        ({"prev_weight": np.zeros((20, 1), np.float32)}, r"prev_weight .*\[20, 1\]"),
        ({"prev_weight": np.full(20, np.inf, np.float32)}, "prev_weight is not finite"),
        ({"prev_weight": np.full(20, 1.5, np.float32)}, "out of bounds.*1.5"),
        ({"prev_weight": np.full(20, -0.5, np.float32)}, "out of bounds.*-0.5"),
    ],
)
def test_a_wrong_guide_is_refused(policy: Policy, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        policy.predict(see(), seed=0, **(guide(0.5) | changes))


class Plain:
    """A ``ChunkPolicy`` of the older kind, which takes no guide; it counts its inferences."""

    chunk_size = 20
    control_period_s = 0.04

    def __init__(self) -> None:
        self.guides: list[object] = []

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        self.guides.append(None)
        return chunk_of(observation)

    def reset(self) -> None:
        """Keep everything."""


class Guided(Plain):
    """The same, and it keeps the guides that it gets."""

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
        *,
        prev_actions: NDArray[np.float32] | None = None,
        prev_weight: NDArray[np.float32] | None = None,
    ) -> Chunk:
        self.guides.append(None if prev_actions is None else (prev_actions, prev_weight))
        return chunk_of(observation)


def chunk_of(observation: Observation) -> Chunk:
    actions = np.zeros((20, 7), np.float32)
    actions[:, 0] = 0.01 * np.arange(20) + observation.t_obs_ns / PERIOD_NS * 0.01
    return Chunk(
        actions=actions, t_obs_ns=observation.t_obs_ns, inference_s=0.0, control_period_s=0.04
    )


class Cameras:
    """An assembler whose newest observation is of the last 40 ms."""

    def __init__(self) -> None:
        self.now_ns = 0

    def newest_t_ns(self) -> int:
        return self.now_ns - self.now_ns % PERIOD_NS

    def assemble(self, *_: object, **__: object) -> Observation:
        return Observation(images={}, state=STATE, t_obs_ns=self.newest_t_ns())


class Delayed:
    """A runner whose work is done when ``finish`` says so."""

    def __init__(self) -> None:
        self.pending: list[tuple[Future[Chunk], Chunk]] = []

    def submit(self, work: Any) -> Future[Chunk]:
        future: Future[Chunk] = Future()
        self.pending.append((future, work()))
        return future

    def finish(self) -> None:
        for future, chunk in self.pending:
            future.set_result(chunk)
        self.pending.clear()


def run_loop(policy: Plain, seam: str, episode_at: int | None = None) -> Log:
    """Turn a policy loop for a second, 5 ms a turn, each inference 200 ms long."""
    log, cameras, runner = Log(), Cameras(), Delayed()
    scheduler = Scheduler(
        SchedulerConfig(seam=seam),  # type: ignore[arg-type]
        chunk_size=20,
        control_period_ns=PERIOD_NS,
        sink=log,
    )
    loop = PolicyLoop(policy, cameras, scheduler, runner=runner)  # type: ignore[arg-type]
    for turn in range(1, 240):
        cameras.now_ns = turn * 5_000_000
        if turn % 40 == 0:
            runner.finish()
        if turn == episode_at:
            loop.new_episode(cameras.now_ns, cameras.now_ns, "go")
        loop.tick(cameras.now_ns)
    return log


def test_the_loop_passes_the_guide_on() -> None:
    policy = Guided()
    log = run_loop(policy, "rtc")
    assert policy.guides[0] is None
    assert len(policy.guides) > 3 and all(policy.guides[1:])
    starts = [event for event in log.events if isinstance(event, InferenceStarted)]
    for (actions, weight), start in zip(policy.guides[1:], starts[1:], strict=True):  # type: ignore[misc]
        assert start.guided_steps == np.count_nonzero(weight) > start.kept_steps >= 4
        # All chunks lie on one line in time, so the guide does too.
        kept = weight == 1.0
        line = 0.01 * (start.t_obs_ns / PERIOD_NS + np.arange(20))
        slips = actions[kept, 0] - line[kept]
        assert np.ptp(slips) < 1e-5


@pytest.mark.parametrize("seam", ["switch", "blend"])
def test_without_rtc_nothing_is_guided(seam: str) -> None:
    policy = Guided()
    log = run_loop(policy, seam)
    assert len(policy.guides) > 3 and not any(policy.guides)
    assert not any(e.guided_steps for e in log.events if isinstance(e, InferenceStarted))


def test_the_first_inference_of_an_episode_is_not_guided() -> None:
    policy = Guided()
    run_loop(policy, "rtc", episode_at=130)
    guided = [guide is not None for guide in policy.guides]
    # The fourth is under way when the episode begins; its chunk is void.
    assert guided == [False, True, True, True, False, True]


def test_a_policy_that_takes_no_guide_keeps_working() -> None:
    policy = Plain()
    assert not takes_guide(policy)
    run_loop(policy, "rtc")
    assert len(policy.guides) > 3


def test_the_oracle_cannot_be_guided() -> None:
    with pytest.raises(UsageError, match="the oracle samples nothing"):
        check(RunConfig(sim=True, policy="oracle", seam="rtc"))
