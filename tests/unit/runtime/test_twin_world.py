"""The twin's world: time, episodes, objects and snapshots."""

import numpy as np
import pytest

from dvla.runtime.errors import ConfigError, WireError
from dvla.runtime.events import EpisodeEnded, EpisodeStarted
from dvla.runtime.twin.episodes import GOAL_M, EpisodeJudge
from dvla.runtime.twin.objects import (
    DECELERATION,
    Task,
    draw_episode,
    parse_task,
    task_code,
    task_from_code,
)
from dvla.runtime.twin.snapshot import SNAPSHOT_BYTES, pack_snapshot, unpack_snapshot
from dvla.runtime.twin.world import STEP_NS, TwinWorld, WorldConfig

pytest.importorskip("mujoco")

START_NS = 5_000_000_000


class Sink:
    def __init__(self):
        self.events = []

    def emit(self, event):
        self.events.append(event)


@pytest.fixture
def world():
    world = TwinWorld()
    world.reset(1, START_NS)
    return world


def run(world, seconds):
    for _ in range(round(seconds * 50)):
        world.advance(world.t_ns + 20_000_000)


def test_physics_keeps_the_time_it_is_given(world):
    rng = np.random.default_rng(3)
    now_ns = START_NS
    for _ in range(200):
        now_ns += int(rng.integers(1, 9_000_000))
        world.advance(now_ns)
        assert 0 <= now_ns - world.t_ns < STEP_NS
    assert world.lost_ns == 0
    assert world.data.time == pytest.approx((world.t_ns - START_NS) / 1e9)


def test_time_that_stands_or_goes_back_steps_nothing(world):
    assert world.advance(START_NS) == 0
    assert world.advance(START_NS - 1_000_000) == 0


def test_a_stall_is_skipped_and_counted(world):
    steps = world.advance(START_NS + 3_000_000_000)
    assert steps * STEP_NS == 100_000_000
    assert world.lost_ns == 2_900_000_000
    assert world.t_ns == START_NS + 3_000_000_000


@pytest.mark.parametrize("kind", ["ball", "can", "box"])
def test_objects_slow_down_as_their_episode_promises(kind):
    world = TwinWorld(WorldConfig(task=Task(kind=kind)))
    seed = next(s for s in range(100) if draw_episode(s, Task(kind=kind)).speed > 0.5)
    spec = world.reset(seed, 0)
    run(world, 0.6)
    snapshot = world.snapshot()
    speed = float(np.linalg.norm(snapshot.object_velocity))
    assert (spec.speed - speed) / 0.6 == pytest.approx(DECELERATION[kind], rel=0.15)
    assert snapshot.object_position[2] == pytest.approx(spec.radius_m, abs=2e-3)


def test_a_new_object_leaves_a_kept_arm_exactly_where_it_was(world):
    world.data.ctrl[0] += 0.3
    run(world, 0.5)
    q, fingers = world.q, world.snapshot().finger_width_m
    world.reset(9, world.t_ns, keep_arm=True)
    np.testing.assert_array_equal(world.q, q)
    assert world.snapshot().finger_width_m == fingers


def test_the_same_seed_gives_the_same_world_bit_for_bit():
    snapshots = []
    for _ in range(2):
        world = TwinWorld()
        world.reset(4, 0)
        run(world, 1.0)
        world.reset(4, 0)
        run(world, 0.5)
        snapshots.append(pack_snapshot(world.snapshot())[8:])
    assert snapshots[0] == snapshots[1]
    other = TwinWorld()
    other.reset(5, 0)
    run(other, 0.5)
    assert pack_snapshot(other.snapshot())[8:] != snapshots[0]


def test_snapshots_survive_the_ring(world):
    run(world, 0.2)
    snapshot = world.snapshot()
    payload = world.snapshot_bytes()
    assert len(payload) == SNAPSHOT_BYTES
    again = unpack_snapshot(memoryview(payload))
    for name in snapshot.__struct_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(snapshot, name))
    assert not again.qpos.flags.writeable
    with pytest.raises(WireError, match=f"Expected {SNAPSHOT_BYTES} bytes"):
        unpack_snapshot(payload[:-1])


def test_episodes_end_and_the_next_one_begins_by_itself():
    sink = Sink()
    task = Task(kind="ball")
    world = TwinWorld(WorldConfig(task=task, auto_restart=True, pause_s=0.2), sink)
    assert sink.events == []
    seed = next(s for s in range(100) if draw_episode(s, task).speed > 0.6)
    world.reset(seed, 0)
    run(world, 3.0)
    started, ended, restarted = sink.events[:3]
    assert isinstance(started, EpisodeStarted) and isinstance(ended, EpisodeEnded)
    assert started.text == world_text(seed, task)
    assert ended.outcome == "out_of_reach" and ended.episode == started.episode
    assert isinstance(restarted, EpisodeStarted) and restarted.seed == seed + 1
    assert restarted.t_ns - ended.t_ns == 200_000_000


def world_text(seed, task):
    return draw_episode(seed, task).instruction


def test_the_judge_knows_every_outcome():
    spec = draw_episode(0)
    goal = np.array(GOAL_M)
    table = np.array([0.5, 0.0, spec.radius_m])
    assert EpisodeJudge(spec, 0).look([np.add(goal, [0, 0, -0.02])], goal, 0) == "success"
    assert EpisodeJudge(spec, 0).look([table], goal, 0) is None
    assert EpisodeJudge(spec, 0).look([table], goal, 10_000_000_000) == "timeout"
    assert EpisodeJudge(spec, 0).look([np.add(table, [0, 0.7, 0])], goal, 0) == "out_of_reach"
    lifted = EpisodeJudge(spec, 0)
    high = np.add(table, [0, 0, 0.1])
    assert lifted.look([high], high, 0) is None
    assert lifted.look([table], np.add(high, [0, 0, 0.1]), 0) == "dropped"


def test_every_episode_starts_in_reach_with_graspable_objects():
    specs = [draw_episode(seed) for seed in range(300)]
    assert {spec.kind for spec in specs} == {"ball", "can", "box"}
    assert len({spec.colour for spec in specs}) == 6
    for spec in specs:
        assert 0.02 <= spec.radius_m <= 0.035 and 0 <= spec.speed <= 0.75
        assert 0.35 < spec.position[0] < 0.6 and abs(spec.position[1]) <= 0.42


def test_tasks_name_the_object_they_draw():
    task = parse_task("Pick up the red can.")
    assert task == Task(kind="can", colour="red")
    assert {draw_episode(seed, task).instruction for seed in range(9)} == {"pick up the red can"}
    for each in (task, Task(), Task(colour="blue")):
        assert task_from_code(*task_code(each)) == each
    with pytest.raises(ConfigError, match=r"Valid: red, .*ball, can, box"):
        parse_task("make coffee")
