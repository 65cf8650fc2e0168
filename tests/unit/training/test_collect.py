"""Recording: what a policy would see, what the expert would do, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from dvla.benchmarks.dom.episode import ClosedLoop
from dvla.benchmarks.dom.result import CellConfig
from dvla.benchmarks.dom.seeded import seeded
from dvla.engines.errors import UsageError
from dvla.export.arch import Crop
from dvla.runtime.chunk import Chunk
from dvla.runtime.errors import ConfigError
from dvla.runtime.observation import Observation
from dvla.runtime.oracle.expert import ExpertConfig
from dvla.runtime.oracle.policy import OraclePolicy
from dvla.runtime.twin.scene import CAMERAS
from dvla.runtime.twin.scenes.asked import asked_scene
from dvla.runtime.twin.scenes.choice import SceneChoice
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.snapshot import TwinSnapshot
from dvla.runtime.twin.world import TwinWorld, WorldConfig
from dvla.training.cli_collect import collect_command
from dvla.training.collect.campaign import collect
from dvla.training.collect.controllers import DisturbedPolicy, TakeOver
from dvla.training.collect.frames import (
    CROPS,
    EpisodeInfo,
    in_crop,
    map_episode,
    recorded,
    write_episode,
)
from dvla.training.collect.record import Plan, Recorder, draw_plan
from dvla.training.collect.teacher import expert_actions, state_of, target_of
from dvla.training.collect.worker import Job, open_recorder
from dvla.training.dataset import Episodes
from dvla.training.seeds import TEST_SEEDS, VALIDATION_SEEDS, refuse_test_seeds

SEED = 100_003


def plain(snapshot: TwinSnapshot, camera: str) -> np.ndarray:
    """Stand in for a renderer: a picture whose value tells camera and time."""
    value = 10 * CAMERAS.index(camera) + (snapshot.t_ns // 40_000_000) % 10
    return np.full((36, 48, 3), value, np.uint8)


def middle(snapshot: TwinSnapshot, camera: str, thing: int) -> np.ndarray:
    """Stand in for a renderer's ``spot``: in the middle of one camera, out of the other's view."""
    return np.full(2, 0.5 if camera == CAMERAS[0] else np.nan)


def record(seed: int = SEED, max_s: float = 0.6) -> tuple[EpisodeInfo, np.ndarray]:
    plan = Plan(seed=seed, controller="expert", latency_ms=40.0, ci=True, laas=True)
    return Recorder(TwinWorld(), plain, middle, max_s=max_s).record(plan)


def test_a_seed_gives_the_same_recording() -> None:
    _, first = record()
    _, again = record()
    assert first.tobytes() == again.tobytes()


def test_a_step_holds_state_pictures_and_the_oracles_chunk() -> None:
    seen: list[tuple[TwinSnapshot, np.ndarray]] = []

    class Watching(OraclePolicy):
        def predict(self, observation: Observation, noise=None, seed=None) -> Chunk:  # type: ignore[no-untyped-def]
            chunk = super().predict(observation, noise, seed)
            seen.append((observation.privileged, chunk.actions))
            return chunk

    loop = ClosedLoop(CellConfig(), Watching(), TwinWorld(), SEED)
    try:
        loop.run(max_s=0.5)
    finally:
        loop.close()
    for snapshot, actions in seen:
        answer = expert_actions(snapshot, ExpertConfig(), 20, 0.04)
        assert np.allclose(answer[:, [0, 1, 2, 6]], actions[:, [0, 1, 2, 6]], atol=1e-6)
        assert np.abs(answer[:, 3:6] - state_of(snapshot)[3:6]).max() < np.pi + 1e-6

    info, steps = record()
    assert info.steps == len(steps) == 16
    assert [int(s["images"][1, 0, 0, 0]) - int(s["images"][0, 0, 0, 0]) for s in steps] == [10] * 16
    middle = in_crop(np.array([0.5, 0.5]), CROPS[0]).astype(np.float32)
    assert (steps["spots"][:, 0] == middle).all() and np.isnan(steps["spots"][:, 1]).all()
    assert (np.diff(steps["actions"][:, :, :3], axis=1) ** 2).sum(-1).max() < (0.95 * 0.041) ** 2
    assert np.all((steps["state"][:, 3] >= 0) & (steps["state"][:, 3] < 2 * np.pi))


@pytest.mark.parametrize("steps", [None, (-2, 0), (-4, 0)])
def test_a_policy_observes_what_its_training_saw(steps: tuple[int, int] | None) -> None:
    """Observations reach back as far as the policy's own history, and not as far as another's."""
    kept: list[tuple[int, np.ndarray]] = []
    seen: list[Observation] = []

    class Watching(OraclePolicy):
        def predict(self, observation: Observation, noise=None, seed=None) -> Chunk:  # type: ignore[no-untyped-def]
            seen.append(observation)
            return super().predict(observation, noise, seed)

    watching = Watching()
    if steps is not None:
        setattr(watching, "history_steps", steps)  # noqa: B010
    policy = seeded(watching, 0)
    loop = ClosedLoop(
        CellConfig(),
        policy,
        TwinWorld(),
        SEED,
        plain,
        watch_exposure=lambda snapshot: kept.append((snapshot.t_ns, state_of(snapshot))),
    )
    try:
        loop.run(max_s=1.4)
    finally:
        loop.close()
    times = [t_ns for t_ns, _ in kept]
    back = (steps or (-2, 0))[0]
    assert len(seen) > 4
    for observation in seen:
        now = times.index(observation.t_obs_ns)
        before = max(0, now + back)
        for row, at in zip(observation.state, (before, now), strict=True):
            assert row == pytest.approx(kept[at][1], abs=1e-6)
        greys = observation.images[f"observation.images.{CAMERAS[0]}"][:, 0, 0, 0]
        assert list(greys) == [(times[at] // 40_000_000) % 10 for at in (before, now)]


def test_plans_follow_from_the_seed_and_cover_what_policies_meet() -> None:
    plans = [draw_plan(seed, "some.bundle") for seed in range(100_000, 100_300)]
    assert plans == [draw_plan(seed, "some.bundle") for seed in range(100_000, 100_300)]
    assert {p.latency_ms for p in plans} >= {0.0, 200.0}
    assert {(p.ci, p.laas) for p in plans} == {(True, True), (False, True), (False, False)}
    assert 0.2 < sum(p.take_over_s is not None for p in plans) / 300 < 0.6
    assert 0.2 < sum(p.rtc for p in plans) / 300 < 0.6
    assert all(p.ci and p.laas for p in plans if p.rtc)
    experts = [draw_plan(seed, "expert") for seed in range(100_000, 100_100)]
    assert not any(p.rtc or p.take_over_s for p in experts)


def test_disturbances_are_small_mostly_and_fade_in() -> None:
    snapshot = TwinWorld().snapshot()
    observation = Observation(
        images={}, state=np.zeros((2, 0), np.float32), instruction="", t_obs_ns=0,
        history_offset_ns=(0, 0), privileged=snapshot,
    )  # fmt: skip
    clean = OraclePolicy().predict(observation).actions
    policy = DisturbedPolicy(OraclePolicy(), 1)
    offsets = np.array(
        [policy.predict(observation).actions[:, :3] - clean[:, :3] for _ in range(200)]
    )
    sizes = np.linalg.norm(offsets[:, -1], axis=1)
    assert 0.003 < np.median(sizes) < 0.012
    assert 0.02 < (sizes > 0.02).mean() < 0.12
    assert np.all(np.linalg.norm(offsets[:, 0], axis=1) < 0.3 * sizes + 1e-6)


def test_the_expert_takes_over_once() -> None:
    class Named(OraclePolicy):
        def __init__(self, name: str, asked: list[str]) -> None:
            super().__init__()
            self.name, self.asked = name, asked

        def predict(self, observation: Observation, noise=None, seed=None) -> Chunk:  # type: ignore[no-untyped-def]
            self.asked.append(self.name)
            return super().predict(observation, noise, seed)

    asked: list[str] = []
    policy = TakeOver(Named("learner", asked), Named("expert", asked), after_s=0.3)
    loop = ClosedLoop(CellConfig(), policy, TwinWorld(), SEED)
    try:
        loop.run(max_s=1.2)
    finally:
        loop.close()
    changed = asked.index("expert")
    assert changed > 0 and asked == ["learner"] * changed + ["expert"] * (len(asked) - changed)


def test_reserved_seeds_are_refused() -> None:
    refuse_test_seeds([0, 19_999, 50_000, 100_000])
    for seed in (TEST_SEEDS.start, TEST_SEEDS.stop - 1, VALIDATION_SEEDS.start):
        with pytest.raises(UsageError, match="reserved"):
            refuse_test_seeds([100_000, seed])


def test_a_long_scene_is_recorded_with_the_object_that_is_next() -> None:
    choice = SceneChoice(family="training", task="long")

    def record_scene(worlds: TwinWorld) -> tuple[EpisodeInfo, np.ndarray]:
        plan = Plan(seed=SEED, controller="expert", latency_ms=0.0, ci=True, laas=True)
        return Recorder(worlds, plain, middle, max_s=0.2, scene=choice).record(plan)

    world = TwinWorld(WorldConfig(scene=choice))
    info, steps = record_scene(world)
    assert info.scenes == "training long"
    assert target_of(world.snapshot()) == 0
    at = world.snapshot().object_position
    assert np.allclose(steps["object"][-1, :3], at, atol=0.05)
    draw, container = draw_scene(SEED, choice), draw_scene(SEED, choice).container
    assert container is not None and draw.targets == 2
    assert container.name in info.instruction
    delivered = world.snapshot()
    delivered.qpos[9:12] = (*container.position, 0.03)
    assert target_of(delivered) == 1
    _, again = record_scene(TwinWorld(WorldConfig(scene=choice)))
    assert steps.tobytes() == again.tobytes()


def test_a_folder_keeps_to_one_kind_of_scene(tmp_path: Path) -> None:
    info, steps = record(max_s=0.1)
    write_episode(tmp_path, info, steps)
    with pytest.raises(UsageError, match="another kind of scene") as error:
        collect(tmp_path, [SEED], "expert", 1, lambda told: None, task="place")
    assert "training place" in str(error.value) and "the plain scene" in str(error.value)
    assert list(collect(tmp_path, [SEED], "expert", 1, lambda told: None)) == [SEED]
    with pytest.raises(UsageError, match=r"with other objects.*any object.*red can"):
        collect(tmp_path, [SEED], "expert", 1, lambda told: None, task="pick up the red can")
    write_episode(tmp_path, msgspec.structs.replace(info, objects=None), steps)  # by an earlier one
    assert collect(tmp_path, [SEED], "expert", 1, lambda told: None, task="pick up the red can")


def test_episodes_are_cut_off_where_asked(tmp_path: Path) -> None:
    def steps(**asked: Any) -> int:
        job = Job(folder=str(tmp_path), controller="expert", **asked)
        return open_recorder(job).record(draw_plan(SEED, "expert"))[0].steps

    assert steps(max_s=0.2) == 6
    assert steps(scenes="training-one", max_s=0.4) == 11


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"max_s": 0.0}, "--max-s is out of bounds"),
        ({"max_s": float("nan")}, "--max-s is out of bounds"),
        ({"first_seed": -3}, "--first-seed is out of bounds"),
        ({"max_s": 8.0, "format": "lerobot-v3.0"}, "--max-s goes with --format episodes"),
    ],
)
def test_a_cut_that_cannot_be_is_refused(asked: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        collect_command(tmp_path / "out", episodes=1, **asked)
    assert not (tmp_path / "out").exists()


def test_a_folder_keeps_to_one_arm_and_so_does_a_training(tmp_path: Path) -> None:
    plan = Plan(
        seed=SEED, controller="expert", latency_ms=0.0, ci=True, laas=True, take_over_s=None
    )
    world = TwinWorld(WorldConfig(robot="piper"))
    info, steps = Recorder(world, plain, middle, max_s=0.2, robot="piper").record(plan)
    assert info.robot == "piper"
    hand = steps["state"][:, :3]
    assert np.allclose(steps["actions"][0, 0, :3], hand[0], atol=0.02)
    assert np.all(np.abs(steps["actions"][..., 3] - np.pi) < 0.8)
    for name, (told, rows) in {"piper": (info, steps), "franka": record(max_s=0.1)}.items():
        (tmp_path / name).mkdir()
        # Under a seed that is not held out.
        write_episode(tmp_path / name, msgspec.structs.replace(told, seed=100_001), rows)
    with pytest.raises(UsageError, match=r"another arm.*piper.*franka"):
        collect(tmp_path / "piper", [SEED], "expert", 1, lambda told: None)
    Episodes([tmp_path / "piper"])
    with pytest.raises(UsageError, match=r"different arms.*franka, piper"):
        Episodes([tmp_path / "piper", tmp_path / "franka"])


@pytest.mark.parametrize(
    ("task", "scenes", "words"),
    [
        ("place", "plain", "no container"),
        ("pick up the ball", "training", "pick, place, long"),
        ("juggle", None, "ball, can, box"),
        ("pick", "moon", "plain, reactivity"),
    ],
)
def test_tasks_and_scenes_that_do_not_go_together(task: str, scenes: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        asked_scene(task, scenes)


def test_episodes_come_back_mapped_and_half_written_ones_do_not(tmp_path: Path) -> None:
    info, steps = record()
    write_episode(tmp_path, info, steps)
    (tmp_path / "episode-00100009.npy").write_bytes(b"half")
    assert list(recorded(tmp_path)) == [SEED]
    again = map_episode(tmp_path, SEED)
    assert isinstance(again, np.memmap) and again.tobytes() == steps.tobytes()
    with pytest.raises(UsageError, match="cannot be read"):
        map_episode(tmp_path, 100_009)
    np.save(tmp_path / "episode-00100010.npy", np.zeros(3))
    with pytest.raises(UsageError, match="another layout"):
        map_episode(tmp_path, 100_010)


def test_a_spot_is_told_within_its_crop() -> None:
    crop = Crop(top=0.5, left=0.2, right=0.7)
    assert in_crop(np.array([0.2, 0.5]), crop) == pytest.approx([0.0, 0.0])
    assert in_crop(np.array([0.45, 0.75]), crop) == pytest.approx([0.5, 0.5])
    assert in_crop(np.array([0.8, 0.4]), crop)[0] > 1 and in_crop(np.array([0.8, 0.4]), crop)[1] < 0
