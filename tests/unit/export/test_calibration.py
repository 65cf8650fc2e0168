"""Calibration folders: the right steps of them, and every wrong one refused in one paragraph."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from bundle_tools import NANO_BUNDLE, tiny_bundle, tiny_graphs, tokenizer
from golden_model import TINY_CHECKPOINT
from synthetic_run import START_NS, make_run

from dvla.engines.bundle import read_bundle
from dvla.engines.errors import UsageError
from dvla.engines.manifest import PolicyFacts
from dvla.export import build, cli
from dvla.export.calibration import load_calibration
from dvla.export.reference import Reference
from dvla.runtime.recordings.run_film import RunFilm
from dvla.runtime.tokenizer import PromptEncoder
from dvla.runtime.video import VideoWriter

pytest.importorskip("av")
pytest.importorskip("pyarrow")
from lerobot_dataset import FPS, LENGTHS, TASKS, grey, write_dataset


def facts() -> PolicyFacts:
    return read_bundle(tiny_bundle()).manifest.policy


def nano_facts() -> PolicyFacts:
    return read_bundle(NANO_BUNDLE).manifest.policy


def encoder() -> PromptEncoder:
    return PromptEncoder(tokenizer(), facts().tokenizer_max_length, facts().vocab_size)


def dataset(root: Path, version: str = "v3.0", policy: PolicyFacts | None = None) -> Path:
    policy = policy or facts()
    size = (policy.camera_width, policy.camera_height)
    return write_dataset(root / version, policy.cameras, size, policy.state_width, version)


def load(path: Path, cases: int = 32) -> Reference:
    return load_calibration(path, facts(), encoder(), cases)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_every_step_has_its_own_frames_state_and_words(version: str, tmp_path: Path) -> None:
    found = load(dataset(tmp_path, version))
    assert found.source == "recorded"
    assert "2 episodes" in found.origin
    assert len(found.frames) == sum(LENGTHS)
    back = [round(step * facts().control_period_s * FPS) for step in facts().history_steps]
    steps = [(e, s) for e, length in enumerate(LENGTHS) for s in range(length)]
    for case, (episode, step) in enumerate(steps):
        np.testing.assert_array_equal(found.state[case], 10 * episode + step)
        words = encoder().encode(TASKS[episode]).token_ids
        np.testing.assert_array_equal(found.token_ids[case], words)
        shades = found.frames[case].mean(axis=(2, 3, 4))
        wanted = [grey(episode, max(0, step + each)) for each in back]
        assert np.abs(shades - wanted).max() < 4


def test_the_two_layouts_give_the_same_observations(tmp_path: Path) -> None:
    old, new = load(dataset(tmp_path, "v2.1"), 5), load(dataset(tmp_path, "v3.0"), 5)
    for name in ("state", "token_ids", "noise"):
        np.testing.assert_array_equal(getattr(old, name), getattr(new, name))


def test_a_state_with_motion_has_the_change_since_the_oldest_frame(tmp_path: Path) -> None:
    policy = nano_facts()
    assert policy.state_motion
    words = PromptEncoder(tokenizer(), policy.tokenizer_max_length, 512)
    found = load_calibration(dataset(tmp_path, "v3.0", policy), policy, words)
    back = round(policy.history_steps[0] * policy.control_period_s * FPS)
    steps = [(e, s) for e, length in enumerate(LENGTHS) for s in range(length)]
    np.testing.assert_array_equal(found.state[:, :6], [[10 * e + s] * 6 for e, s in steps])
    moved = np.array([[s - max(0, s + back)] * 6 for _, s in steps], np.float64)
    moved[:, 3:] = np.arctan2(np.sin(moved[:, 3:]), np.cos(moved[:, 3:]))
    assert moved.max() > 1.0
    np.testing.assert_allclose(found.state[:, 6:], moved, atol=1e-5)


@pytest.mark.parametrize("motion", [False, True], ids=["pose", "pose and motion"])
def test_a_run_folder_gives_the_states_of_its_frames(tmp_path: Path, motion: bool) -> None:
    policy = msgspec.structs.replace(facts(), state_motion=motion)
    folder = make_run(tmp_path, 2.0, video=False)
    film = VideoWriter(folder.video, policy.cameras)
    picture = np.full((policy.camera_height, policy.camera_width, 3), 90, np.uint8)
    for index in range(50):
        for camera in policy.cameras:
            film.add(camera, START_NS + round(0.04e9 * index), picture)
    film.close()
    found = load_calibration(folder.path, policy, encoder(), cases=8)
    back_s = policy.history_steps[0] * policy.control_period_s
    run = RunFilm(folder.path, policy)
    clock_s, measured = (run.arm["t_ns"] - run.begin_ns) * 1e-9, run.arm["measured"]
    now_s = -back_s + (clock_s[-1] * 0.8 + back_s) * (np.arange(8) + 0.5) / 8
    newest, oldest = (measured[np.searchsorted(clock_s, t_s)] for t_s in (now_s, now_s + back_s))
    assert found.state.shape == (8, 12 if motion else 6)
    np.testing.assert_allclose(found.state[:, :3], newest[:, :3], atol=1e-6)
    if motion:
        moved_m = (newest - oldest)[:, :3]
        assert np.abs(moved_m).max() > 5e-3
        np.testing.assert_allclose(found.state[:, 6:9], moved_m, atol=1e-6)


def test_an_export_says_what_it_was_compared_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "write_graphs", tiny_graphs)
    bundle = tmp_path / "b"
    arguments = [TINY_CHECKPOINT, "-o", bundle, "--tokenizer", tokenizer(), "--calibration"]
    told = ["dvla-export", *map(str, arguments), str(dataset(tmp_path))]
    monkeypatch.setattr(sys, "argv", told)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    assert "Recorded in: LeRobot dataset v3.0" in capsys.readouterr().out
    (record,) = read_bundle(bundle).manifest.engines
    assert record.verification is not None
    assert record.verification.frames == "recorded"
    assert record.verification.cases == sum(LENGTHS) + 1
    assert record.verification.origin.startswith("LeRobot dataset v3.0")
    assert {column.units for column in record.verification.columns} >= {"m", "rad"}


def edit_info(root: Path, old: str, new: str) -> None:
    file = root / "meta/info.json"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def damage(root: Path, kind: str) -> str:
    """Spoil a dataset; return a part of the message that it deserves."""
    camera = facts().cameras[0]
    if kind == "cameras":
        edit_info(root, camera, camera + "_left")
        return "other cameras than the policy sees"
    if kind == "state":
        edit_info(root, f'"shape": [{facts().state_width}]', '"shape": [14]')
        return "another arm than the policy moves"
    if kind == "size":
        edit_info(root, f'"shape": [{facts().camera_height}, ', '"shape": [480, ')
        return "--camera-size"
    if kind == "version":
        edit_info(root, '"v3.0"', '"v1.6"')
        return "Valid: v2.1, v3.0"
    if kind == "json":
        (root / "meta/info.json").write_text("{")
        return "cannot be read"
    if kind == "contents":
        shutil.rmtree(root / "meta/episodes")
        return "no episodes"
    if kind == "film":
        next(root.rglob("*.mp4")).write_bytes(b"no film")
        return "cannot be read"
    if kind == "no film":
        next(root.rglob("*.mp4")).unlink()
        return "cannot be read"
    if kind == "table":
        file = root / "data/chunk-000/file-000.parquet"
        file.write_bytes(file.read_bytes()[:100])
        return "missing or damaged"
    info = json.loads((root / "meta/info.json").read_text())
    del info["features"]["observation.state"]
    (root / "meta/info.json").write_text(json.dumps(info))
    return "no observation.state"


@pytest.mark.parametrize(
    "kind",
    ["cameras", "state", "size", "version", "json", "contents", "film", "no film", "table", "none"],
)
def test_a_wrong_dataset_is_refused_in_one_paragraph(kind: str, tmp_path: Path) -> None:
    root = dataset(tmp_path)
    message = damage(root, kind)
    with pytest.raises(UsageError, match=message) as caught:
        load(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_a_folder_that_is_no_dataset_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a LeRobot dataset"):
        load(tmp_path / name)
