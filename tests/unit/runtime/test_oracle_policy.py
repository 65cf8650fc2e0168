"""The oracle: smooth, stateless, honest about what it needs."""

import numpy as np
import pytest

from dvla.runtime.errors import StaleObservation
from dvla.runtime.observation import Observation
from dvla.runtime.oracle.grasp import grasp_yaw, within_reach
from dvla.runtime.oracle.motion import RollingMotion
from dvla.runtime.oracle.policy import OraclePolicy
from dvla.runtime.twin.objects import Task, draw_episode
from dvla.runtime.twin.world import TwinWorld, WorldConfig

pytest.importorskip("mujoco")


def observe(world):
    return Observation(
        images={},
        state=np.zeros((1, 6), np.float32),
        t_obs_ns=world.t_ns,
        privileged=world.snapshot(),
    )


@pytest.fixture
def world():
    world = TwinWorld()
    world.reset(3, 0)
    return world


def test_a_chunk_has_the_shape_and_the_times_of_a_networks(world):
    world.advance(40_000_000)
    chunk = OraclePolicy().predict(observe(world))
    assert chunk.actions.shape == (20, 7) and chunk.actions.dtype == np.float32
    assert chunk.t_obs_ns == world.t_ns and chunk.control_period_s == 0.04
    assert np.isfinite(chunk.actions).all()


@pytest.mark.parametrize("seed", range(12))
def test_actions_begin_at_the_commanded_pose_and_move_smoothly(seed):
    world = TwinWorld()
    world.reset(seed, 0)
    actions = OraclePolicy().predict(observe(world)).actions[:, :3].astype(float)
    path = np.vstack([world.measured()[:3], actions])
    velocity = np.diff(path, axis=0) / 0.04
    speed = np.linalg.norm(velocity, axis=1)
    acceleration = np.linalg.norm(np.diff(velocity[1:], axis=0), axis=1) / 0.04
    assert speed.max() < 1.1
    assert acceleration.max() < 6.0


def test_it_keeps_nothing_between_chunks(world):
    used, fresh = OraclePolicy(), OraclePolicy()
    for _ in range(5):
        world.advance(world.t_ns + 40_000_000)
        used.predict(observe(world))
    used_chunk, fresh_chunk = used.predict(observe(world)), fresh.predict(observe(world))
    np.testing.assert_array_equal(used_chunk.actions, fresh_chunk.actions)


def test_it_heads_for_where_the_object_will_be():
    task = Task(kind="ball")
    world = TwinWorld(WorldConfig(task=task))
    seed = next(s for s in range(100) if 0.3 < draw_episode(s, task).speed < 0.4)
    world.reset(seed, 0)
    snapshot = world.snapshot()
    end = OraclePolicy().predict(observe(world)).actions[-1, :2]
    motion = RollingMotion(snapshot.object_position, snapshot.object_velocity, 0.1)
    ahead = motion.position(0.8)[:2]
    assert np.linalg.norm(end - ahead) < np.linalg.norm(end - snapshot.object_position[:2])


def test_without_the_true_state_it_says_so():
    observation = Observation(images={}, state=np.zeros((1, 6), np.float32))
    with pytest.raises(StaleObservation, match="true state of the twin"):
        OraclePolicy().predict(observation)


def test_rolling_slows_down_and_rests():
    motion = RollingMotion(np.zeros(3), np.array([0.0, 0.4, 0.0]), 0.1)
    assert motion.position(2.0)[1] == pytest.approx(0.4 * 2 - 0.05 * 4)
    assert motion.velocity(2.0)[1] == pytest.approx(0.2)
    np.testing.assert_allclose(motion.position(4.0), motion.position(99.0))
    assert not motion.velocity(4.0).any()


@pytest.mark.parametrize("seed", range(20))
def test_the_grasp_yaw_stays_within_a_quarter_turn_and_follows_the_can(seed):
    task = Task(kind="can")
    world = TwinWorld(WorldConfig(task=task))
    spec = world.reset(seed, 0)
    yaw = grasp_yaw(spec, world.snapshot().object_quaternion)
    assert abs(yaw) <= np.pi / 2
    # The hand's y axis, along which the fingers close, is the can's heading, up to its sign.
    closing = np.array([np.sin(yaw), -np.cos(yaw)])
    heading = np.array([np.cos(spec.heading_rad), np.sin(spec.heading_rad)])
    assert abs(closing @ heading) == pytest.approx(1.0, abs=1e-6)


def test_targets_out_of_reach_are_moved_to_the_nearest_place_within():
    inside = np.array([0.5, 0.1, 0.02])
    assert within_reach(inside) is inside
    outside = within_reach(np.array([0.9, 0.9, 0.02]))
    assert np.hypot(*outside[:2]) <= 0.74 + 1e-9 and outside[2] == 0.02
