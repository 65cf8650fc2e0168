"""What a batch draws: mirrored samples are true ones, decisive steps come often."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

import msgspec
import numpy as np
import pytest
from training_data import made_up_dataset

from dvla.runtime.tokenizer import PromptEncoder
from dvla.runtime.twin.scenes.choice import SceneChoice, scene_words
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.scenes.forms import COLOURS, FORMS
from dvla.runtime.twin.world import TwinWorld
from dvla.training import dataset, sampler
from dvla.training.collect.frames import EpisodeInfo
from dvla.training.collect.teacher import state_of
from dvla.training.dataset import Episodes
from dvla.training.draws import Pool
from dvla.training.flow_loss import Batch
from dvla.training.sampler import Sampler, mirror, renamed
from dvla.training.tokenizer import train_tokenizer


@pytest.mark.parametrize("width", [6, 12])
def test_mirroring_twice_changes_nothing(width: int) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (4, 2, 2, 8, 8, 3)).astype(np.uint8)
    state = rng.uniform(0.1, 6.0, (4, width)).astype(np.float32)
    actions = rng.normal(size=(4, 20, 7)).astype(np.float32)
    actions[..., :6] += state[:, None, :6]
    target = rng.normal(size=(4, 6)).astype(np.float32)
    spots = rng.uniform(size=(4, 2, 2, 2)).astype(np.float32)
    container = rng.normal(size=(4, 2)).astype(np.float32)
    arrays = (frames, state, actions, target, spots, container)
    before = [array.copy() for array in arrays]
    chosen = np.array([1, 3])
    mirror(chosen, *arrays)
    for array, old in zip(arrays, before, strict=True):
        assert np.array_equal(array[[0, 2]], old[[0, 2]])
        assert not np.array_equal(array[1], old[1])
    relative = actions[1, :, :6] - state[1, :6]
    old_relative = before[2][1, :, :6] - before[1][1, :6]
    assert np.allclose(relative, old_relative * (1, -1, 1, -1, 1, -1), atol=1e-5)
    if width == 12:  # where it moves is mirrored too
        assert np.allclose(state[1, 6:], before[1][1, 6:] * (1, -1, 1, -1, 1, -1))
    assert (state[chosen][:, [3, 5]] >= 0).all() and (state[chosen][:, [3, 5]] < 2 * np.pi).all()
    mirror(chosen, *arrays)
    for array, old in zip(arrays, before, strict=True):
        assert np.allclose(array, old, atol=1e-5)


def changed_dataset(folder: Path, **change: str) -> set[int]:
    """Make up six episodes, three of them changed; return the seeds of those."""
    made_up_dataset(folder, episodes=6)
    changed = set()
    for path in sorted(folder.glob("*.json"))[3:]:
        info = msgspec.json.decode(path.read_bytes(), type=EpisodeInfo)
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(info, **change)))
        changed.add(info.seed)
    return changed


def drawn(
    folder: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Batch, list[EpisodeInfo], list[int]]:
    """Draw a batch; return it, the episodes of its samples, and which samples are mirrored."""
    mirrored: list[int] = []
    monkeypatch.setattr(sampler, "mirror", lambda chosen, *_: mirrored.extend(chosen))
    train_tokenizer(["pick up the red ball", *SIDES], 300, tokenizer)
    episodes, asked = Episodes([folder]), []
    rows = episodes.rows
    monkeypatch.setattr(episodes, "rows", lambda at: asked.append(rows(at)) or asked[-1])
    batch = Sampler(episodes, PromptEncoder(tokenizer, 24, 512), 0, augment=True).batch(200)
    ((*_, infos),) = asked
    return batch, infos, mirrored


SIDES = ("pick up the leftmost ball", "pick up the rightmost ball")


def test_pictures_of_other_arms_are_not_mirrored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their cameras may stand anywhere."""
    changed = changed_dataset(tmp_path / "episodes", robot="")
    _, infos, mirrored = drawn(tmp_path / "episodes", tmp_path / "tokenizer.json", monkeypatch)
    chosen = [infos[index].seed for index in mirrored]
    assert changed & {info.seed for info in infos} and not changed & set(chosen)
    assert len(chosen) > 0.3 * sum(info.seed not in changed for info in infos)


def test_a_mirrored_sample_asks_for_the_other_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = SIDES
    changed = changed_dataset(tmp_path / "episodes", instruction=left)
    tokenizer = tmp_path / "tokenizer.json"
    batch, infos, mirrored = drawn(tmp_path / "episodes", tokenizer, monkeypatch)
    encoder = PromptEncoder(tokenizer, 24, 512)
    sided = [index for index, info in enumerate(infos) if info.seed in changed]
    assert set(sided) & set(mirrored) and set(sided) - set(mirrored)
    for index, info in enumerate(infos):
        wanted = info.instruction
        if index in sided and index in mirrored:
            wanted = right
        ids = encoder.encode(wanted).token_ids[: batch.token_ids.shape[1]]
        assert np.array_equal(batch.token_ids[index].numpy(), ids)


def test_things_of_the_training_alone_get_invented_names_and_no_other_word_does() -> None:
    rng = np.random.default_rng(0)
    told = "first put the navy die in the brown bin, then the lemon and the die"
    found = {renamed(told, rng) for _ in range(200)}
    parts = [re.fullmatch(told.replace("navy", "(.+)").replace("die", "(.+)"), t) for t in found]
    colours, forms, again = zip(*(part.groups() for part in parts if part), strict=True)
    assert len(colours) == len(found) > 50  # the rest stays as it was told
    assert forms == again  # one thing has one name
    assert {"navy"} < set(colours) and {"die"} < set(forms)
    assert not (set(colours) | set(forms)) - {"navy", "die"} & {*COLOURS, *FORMS}
    assert renamed("grab the red ball", rng) == "grab the red ball"
    assert renamed("take the golden candlestick", rng) == "take the golden candlestick"


@pytest.mark.parametrize("robot", ["franka", ""])
def test_invented_names_are_for_our_twins_things_while_training(robot: str, tmp_path: Path) -> None:
    """A jar in someone's own recording is a jar."""
    folder, tokenizer = tmp_path / "episodes", tmp_path / "tokenizer.json"
    made_up_dataset(folder, episodes=6)
    for path in folder.glob("*.json"):
        info = msgspec.json.decode(path.read_bytes(), type=EpisodeInfo)
        info = msgspec.structs.replace(info, robot=robot, instruction="take the jar")
        path.write_bytes(msgspec.json.encode(info))
    train_tokenizer(["take the jar"], 300, tokenizer)
    encoder = PromptEncoder(tokenizer, 24, 512)
    told = encoder.encode("take the jar").token_ids
    for augment in (True, False):
        batch = Sampler(Episodes([folder]), encoder, 0, augment=augment).batch(100)
        ids = batch.token_ids.numpy()
        kept = (ids == told[: ids.shape[1]]).all(axis=1).mean()
        assert 0.3 < kept < 0.7 if augment and robot else kept == 1.0


def test_where_the_container_stands_is_known_from_the_seed_as_long_as_it_draws_the_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placing = SceneChoice(family="training", task="place")
    changed = changed_dataset(tmp_path / "episodes", scenes=scene_words(placing))
    drawn_again = min(changed)
    for path in (tmp_path / "episodes").glob("*.json"):
        info = msgspec.json.decode(path.read_bytes(), type=EpisodeInfo)
        if info.seed in changed - {drawn_again}:
            told = draw_scene(info.seed, placing).instruction
            path.write_bytes(msgspec.json.encode(msgspec.structs.replace(info, instruction=told)))
    monkeypatch.setattr(sampler, "_SIDES", re.compile("nothing"))
    batch, infos, _ = drawn(tmp_path / "episodes", tmp_path / "tokenizer.json", monkeypatch)
    for info, container in zip(infos, batch.container.numpy(), strict=True):
        if info.seed in changed - {drawn_again}:
            scene = draw_scene(info.seed, placing)
            assert scene.container is not None
            assert container == pytest.approx(scene.container.position)
        else:
            assert np.isnan(container).all()


def test_the_mirrored_arm_stands_where_the_mirror_says() -> None:
    """Turn the joints that mirror the arm, and compare the measured pose with ``mirror``'s."""
    world = TwinWorld()
    q = world.q + np.array([0.3, 0.1, -0.2, 0.1, 0.15, -0.1, 0.2])
    reflected = q * (-1, 1, -1, 1, -1, 1, -1)
    reflected[6] += 2 * world.q[6]  # home has the hand straight in the plane of symmetry
    states = []
    for joints in (q, reflected):
        world.data.qpos[world._qpos_at[:7]] = joints
        world._mujoco.mj_forward(world.model, world.data)
        states.append(state_of(world.snapshot()).astype(np.float32))
    state = states[0][None].copy()
    frames, actions = np.zeros((1, 2, 2, 2, 2, 3), np.uint8), np.zeros((1, 20, 7), np.float32)
    target, spots = np.zeros((1, 6), np.float32), np.zeros((1, 2, 2, 2), np.float32)
    container = np.zeros((1, 2), np.float32)
    mirror(np.array([0]), frames, state, actions, target, spots, container)
    assert state[0] == pytest.approx(states[1], abs=1e-5)


def test_more_episodes_than_files_may_be_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made_up_dataset(tmp_path / "episodes", episodes=60)
    monkeypatch.setattr(dataset, "_OPEN", 4)
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, most))
    try:
        episodes = Episodes([folder])
        statistics, (now, *_) = episodes.statistics(), episodes.rows(np.arange(len(episodes)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
    assert statistics.episodes > 50 and len(now) == statistics.steps


def test_decisive_steps_are_those_whose_chunk_moves_the_fingers(tmp_path: Path) -> None:
    episodes = Episodes([made_up_dataset(tmp_path / "episodes")])
    now, *_ = episodes.rows(np.arange(len(episodes)))
    gripper = now["actions"][..., 6]
    wanted = np.flatnonzero(gripper.min(axis=1) != gripper.max(axis=1))
    assert len(wanted) and np.array_equal(episodes.decisive.indices, wanted)


def test_the_way_to_the_object_is_drawn_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made_up_dataset(tmp_path / "episodes")
    episodes = Episodes([folder])
    now, *_ = episodes.rows(np.arange(len(episodes)))
    hand, target = now["state"], now["object"]
    apart_m = np.hypot(*(hand[:, :2] - target[:, :2]).T)
    wanted = np.flatnonzero((apart_m > 0.06) & (target[:, 2] < 0.05))
    assert len(wanted) and np.array_equal(episodes.approach.indices, wanted)
    few = np.arange(3)
    monkeypatch.setattr(episodes, "approach", Pool([few], [1.0]))
    tokenizer, asked, rows = tmp_path / "tokenizer.json", [], episodes.rows
    train_tokenizer(["pick up the red ball", "pick up the blue ball"], 300, tokenizer)
    monkeypatch.setattr(episodes, "rows", lambda at: asked.append(at) or rows(at))
    for augment in (True, False):
        Sampler(episodes, PromptEncoder(tokenizer, 24, 512), 0, augment=augment).batch(400)
    often, seldom = (np.isin(at, few).mean() for at in asked)
    assert seldom < 0.2 and often > 0.4


@pytest.mark.parametrize("kind", ["steps", "decisive", "approach"])
def test_a_step_of_a_heavier_folder_is_drawn_more_often(tmp_path: Path, kind: str) -> None:
    light = made_up_dataset(tmp_path / "light", 30)
    heavy = made_up_dataset(tmp_path / "heavy", 6)
    alone = len(getattr(Episodes([light]), kind))
    pool = getattr(Episodes([light, heavy], weights=(1.0, 3.0)), kind)
    drawn = pool.draw(np.random.default_rng(0), 200_000)
    times = np.bincount(drawn, minlength=pool.indices.max() + 1)[pool.indices]
    each = 200_000 / (alone + 3 * (len(pool) - alone))
    assert times[:alone] == pytest.approx(np.full(alone, each), rel=0.4)
    assert times[alone:].mean() == pytest.approx(3 * each, rel=0.05)
    assert times[:alone].mean() == pytest.approx(each, rel=0.05)


def test_nothing_is_drawn_where_there_is_nothing() -> None:
    pool = Pool([np.empty(0, np.int64)], [1.0])
    assert not len(pool) and not len(pool.draw(np.random.default_rng(0), 5))
