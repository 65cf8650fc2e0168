"""The gymnasium environment: its contract, its episodes, and the expert in it."""

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvla.benchmarks.gym import ENV_ID
from dvla.benchmarks.gym.stepped import STEP_S, GivenAction, SteppedEpisode
from dvla.engines.errors import DvlaError
from dvla.runtime.observation import Observation
from dvla.runtime.robots.franka import FRANKA_TWIN_LIMITS
from dvla.runtime.robots.piper.limits import PIPER_LIMITS
from dvla.runtime.twin.gl import open_gl

pytest.importorskip("mujoco")
pytest.importorskip("dvla.bindings.servo_planner", reason="bindings are not built")
gymnasium = pytest.importorskip("gymnasium")
NAME = f"dvla.benchmarks.gym:{ENV_ID}"
SMALL = {"width": 32, "height": 24}
WORKSPACE = FRANKA_TWIN_LIMITS.workspace
COORDINATE = st.floats(-1.0, 1.0, width=32)
ACTION = st.lists(COORDINATE, min_size=7, max_size=7).map(lambda row: np.array(row, np.float32))


@pytest.fixture(scope="module")
def env():
    try:
        open_gl(16, 16)[1].free()
    except DvlaError as error:
        pytest.skip(str(error))
    made = gymnasium.make(NAME, **SMALL, render_mode="rgb_array")
    yield made
    made.close()


def test_it_keeps_gymnasiums_contract(env):
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Actions are metres and radians on purpose; gymnasium's wrappers rescale them.
        warnings.filterwarnings("ignore", message=".*symmetric and normalized.*")
        check_env(env.unwrapped)


def test_options_lay_another_scene_and_stay(env):
    _, plain = env.reset(seed=3)
    seen, told = env.reset(seed=21_000, options={"scenes": "reactivity"})
    assert "scenes" not in plain and told["scenes"] == "reactivity" and told["environment"] == 0
    assert env.observation_space.contains(seen)
    _, again = env.reset(seed=21_003)
    assert again["environment"] == 3
    seen, told = env.reset(seed=100_000, options={"task": "place"})
    assert told["scenes"] == "training"
    assert any(word in seen["instruction"] for word in ("bowl", "crate", "tray"))
    assert seen["opst_cam"].shape == (24, 32, 3) and seen["opst_cam"].std() > 5
    env.reset(seed=3, options={"task": "pick", "scenes": "plain"})


def test_without_a_seed_no_test_episode_is_drawn(env):
    env.reset(seed=1)
    drawn = [env.reset()[1]["seed"] for _ in range(3)]
    assert len(set(drawn)) == 3 and min(drawn) >= 100_000


def test_wrong_calls_say_what_is_valid(env):
    for call, words in (
        (lambda: env.reset(options={"task": "juggle"}), ("juggle", "ball, can, box")),
        (lambda: env.reset(options={"speed": 1}), ("speed", "task, scenes")),
        (lambda: env.reset(options={"task": "place", "scenes": "plain"}), ("no container",)),
        (lambda: gymnasium.make(NAME, robot="toaster"), ("toaster", "franka, piper")),
        (lambda: gymnasium.make(NAME, width=0), ("width", "16 to 1280")),
    ):
        with pytest.raises(DvlaError) as error:
            call()
        assert all(word in str(error.value) for word in words)
    env.reset(seed=3, options={"scenes": "training"})  # the task is what it was before
    env.reset(seed=3, options={"task": "pick", "scenes": "plain"})
    with pytest.raises(DvlaError, match="7 finite numbers"):
        env.unwrapped.step(np.full(7, np.nan, np.float32))


def test_the_expert_catches_through_the_environment_as_it_does_in_the_harness(env):
    _, told = env.reset(seed=20_000)
    for step in range(250):
        _, reward, terminated, truncated, told = env.step(env.unwrapped.expert_action())
        assert told["elapsed_s"] <= STEP_S * (step + 1) + 1e-9
        if terminated or truncated:
            break
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert told["is_success"] and told["outcome"] == "success" and told["rejected"] == 0
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.action_space.sample())


def test_the_pipers_environment_has_its_own_bounds_and_its_expert_comes_down():
    made = gymnasium.make(NAME, **SMALL, robot="piper")
    try:
        seen, told = made.reset(seed=40_000)
        assert made.observation_space.contains(seen)
        np.testing.assert_allclose(made.action_space.high[:3], PIPER_LIMITS.workspace.upper)
        start_z = seen["state"][2]
        for _ in range(15):
            action = made.unwrapped.expert_action()
            seen, _, _, _, told = made.step(action)
        assert told["rejected"] == 0 and told["mode"] == "follow"
        assert seen["state"][2] < start_z - 0.03
        assert made.action_space.contains(action)
    finally:
        made.close()


def test_a_hand_that_stands_still_lets_the_object_go(env):
    env.reset(seed=20_001)
    home = np.array([0.4, 0.0, 0.28, math.pi, 0.0, 0.0, 1.0], np.float32)
    terminated = False
    while not terminated:
        seen, reward, terminated, truncated, told = env.step(home)
        assert not truncated and reward == 0.0
    assert told["outcome"] == "out_of_reach"
    assert np.linalg.norm(seen["state"][:3] - home[:3]) < 0.01


def test_a_timeout_truncates(env, monkeypatch):
    env.reset(seed=20_001)
    monkeypatch.setattr(SteppedEpisode, "step", lambda self, action: "timeout")
    _, reward, terminated, truncated, told = env.step(env.action_space.sample())
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert told["outcome"] == "timeout" and not told["is_success"]


@settings(max_examples=60, deadline=None)
@given(first=ACTION, second=ACTION)
def test_the_motion_that_goes_on_is_bounded(first, second):
    policy = GivenAction(FRANKA_TWIN_LIMITS)
    observation = Observation(images={}, state=np.zeros((2, 6)), instruction="", t_obs_ns=5)
    for action in (first, second):
        policy.give(action)
    given, on = policy.predict(observation).actions
    np.testing.assert_array_equal(given, second)
    assert on[6] == second[6]
    longest = FRANKA_TWIN_LIMITS.shaper.linear_velocity * STEP_S
    assert (np.abs(on[:3] - second[:3]) <= longest + 1e-6).all()
    for axis in range(3):
        low, high = WORKSPACE.lower[axis], WORKSPACE.upper[axis]
        if low <= second[axis] <= high:
            assert low - 1e-6 <= on[axis] <= high + 1e-6
    policy.reset()
    policy.give(second)
    np.testing.assert_array_equal(*policy.predict(observation).actions)


def test_without_gymnasium_the_message_says_how_to_get_it():
    code = """
import sys
sys.modules["gymnasium"] = None
from dvla.benchmarks.gym import register
from dvla.benchmarks.gym.environment import open_environment
assert not register()
open_environment()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "dvla[gym]" in done.stderr.splitlines()[-1]
