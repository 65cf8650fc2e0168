"""Episodes that a replay plays: read whole, refused in one paragraph, compared step by step."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from synthetic_run import START_NS, make_run, manifest, path_m

from dvla.engines.errors import UsageError
from dvla.engines.manifest import PolicyFacts
from dvla.runtime.cameras import open as open_module
from dvla.runtime.cameras.errors import CameraError
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.cameras.open import open_recorded
from dvla.runtime.cameras.recorded import RecordedCamera
from dvla.runtime.cameras.spec import parse_camera
from dvla.runtime.errors import ConfigError
from dvla.runtime.events import ChunkArrived, EpisodeStarted
from dvla.runtime.prediction import prediction_errors
from dvla.runtime.recordings.episode import load_episode, parse_episode
from dvla.runtime.report import report_html
from dvla.runtime.robots.replaying import ReplayingDriver
from dvla.runtime.run_check import check
from dvla.runtime.run_config import RunConfig
from dvla.runtime.run_data import load_run
from dvla.runtime.run_inputs import of_episode, write_recorded
from dvla.runtime.summary import summarise_data
from dvla.runtime.summary_text import sections
from dvla.runtime.video import VideoWriter

pytest.importorskip("av")
pytest.importorskip("pyarrow")
import lerobot_dataset
from lerobot_dataset import LENGTHS, TASKS, grey, write_dataset

SIDE = "observation.images.side"
"""A camera of the dataset that the policy has not."""


def facts() -> PolicyFacts:
    return PolicyFacts(
        cameras=("observation.images.opst_cam", "observation.images.wrist_cam"),
        camera_width=64,
        camera_height=48,
        history_steps=(-2, 0),
        state_width=6,
        chunk_size=20,
        action_names=("x", "y", "z", "rx", "ry", "rz", "gripper"),
        action_units=("m", "m", "m", "rad", "rad", "rad", ""),
        delta_columns=6,
        max_action_dim=32,
        num_steps=10,
        control_period_s=0.04,
        tokenizer_max_length=48,
        vocab_size=512,
        vlm_model_name="",
    )


NATIVE = FrameShape(height=48, width=64)


def pose(step: int) -> list[float]:
    return [0.4 + 0.01 * step, 0.0, 0.3, 3.0, 0.0, 0.1 * step]


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a dataset whose actions are the states of the next step; the gripper closes at 4."""

    def rows(episode: int, width: int) -> list[dict[str, Any]]:
        return [
            {
                "observation.state": pose(step),
                "action": [*pose(step + 1), 1.0 if step < 4 else -1.0],
                "task_index": episode,
                "episode_index": episode,
                "timestamp": step / 25,
            }
            for step in range(LENGTHS[episode])
        ]

    monkeypatch.setattr(lerobot_dataset, "_rows", rows)
    policy = facts()
    size = (policy.camera_width, policy.camera_height)
    root = write_dataset(tmp_path / "set", (*policy.cameras, SIDE), size, 6, "v3.0")
    change(root, lambda info: info["features"].update(action={"dtype": "float32", "shape": [7]}))
    return root


def change(root: Path, how: Any) -> None:
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    how(info)
    path.write_text(json.dumps(info))


def test_an_episode_is_read_whole(dataset: Path) -> None:
    episode = load_episode(dataset, 1, facts())
    assert len(episode.t_s) == LENGTHS[1]
    assert episode.instruction == TASKS[1]
    assert episode.length_s == pytest.approx((LENGTHS[1] - 1) / 25)
    np.testing.assert_allclose(episode.states[:, 0], [pose(s)[0] for s in range(LENGTHS[1])])
    np.testing.assert_array_equal(episode.states[:, 7], [1, 1, 1, 1, -1, -1, -1, -1, -1])


def test_its_pictures_come_at_their_times(dataset: Path) -> None:
    episode, policy = load_episode(dataset, 1, facts()), facts()
    shape = FrameShape(height=policy.camera_height, width=policy.camera_width)
    part = episode.films[policy.cameras[0]]
    camera = RecordedCamera("c", part, shape, "exact", lambda: 10**9, episode.length_s)
    assert camera.read(10**9 - 1) is None
    for step in range(LENGTHS[1]):
        t_ns = 10**9 + step * 40_000_000
        frame = camera.read(t_ns + 1_000_000)
        assert frame is not None
        assert abs(frame.t_ns - t_ns) < 1_000_000
        assert abs(float(frame.image_hwc.mean()) - grey(1, step)) < 4
    assert camera.read(10**12) is None and camera.ended
    camera.close()


def rename(info: dict[str, Any]) -> None:
    info["features"]["other"] = info["features"].pop("observation.images.wrist_cam")


def open_column(
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    wanted: FrameShape = NATIVE,
) -> RecordedCamera:
    """Open a dataset as the policy's wrist camera."""
    bundle = SimpleNamespace(manifest=SimpleNamespace(policy=facts()))
    monkeypatch.setattr(open_module, "read_bundle", lambda path: bundle)
    spec = parse_camera(f"wrist=lerobot:{options}")
    return open_recorded(facts().cameras[1], spec, wanted, lambda: 1, "b")


def test_any_film_of_a_dataset_can_play_a_role(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(dataset, rename)  # the policy's own wrist camera is not in it
    camera = open_column(monkeypatch, f"{dataset}:1,feature={SIDE}")
    assert SIDE in str(camera._film._path)
    camera.close()
    for options in (f"{dataset}:1", f"{dataset}:1,feature=observation.images.top"):
        with pytest.raises(UsageError, match=rf"films of .*{SIDE}"):
            open_column(monkeypatch, options)


def test_a_film_of_another_size_plays_a_role_where_a_fit_is_declared(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = FrameShape(height=36, width=48)
    camera = open_column(monkeypatch, f"{dataset}:1,fit=crop-resize", small)
    frame = camera.read(2**60)
    assert frame is not None and frame.image_hwc.shape == (36, 48, 3)
    assert abs(float(frame.image_hwc.mean()) - grey(1, 0)) < 4
    camera.close()
    change(dataset, lambda info: info["features"][SIDE].update(shape=[9, 9, 3]))
    open_column(monkeypatch, f"{dataset}:1,feature={SIDE}").close()  # its film is 64 x 48
    with pytest.raises(CameraError, match=r"Got 64x48\. Expected 48x36") as caught:
        open_column(monkeypatch, f"{dataset}:1", small)
    assert "fit=crop-resize" in str(caught.value)


def test_the_replaying_arm_reports_what_was_measured(dataset: Path) -> None:
    driver = ReplayingDriver(load_episode(dataset, 0, facts()))
    assert driver.read(5).setpoint[0] == pytest.approx(0.4)
    driver.start(10**9)
    assert driver.read(10**9 + 60_000_000).setpoint[0] == pytest.approx(0.415)
    assert driver.read(10**12).setpoint[0] == pytest.approx(0.4 + 0.01 * (LENGTHS[0] - 1))
    before = driver.read(10**9).setpoint
    driver.command(np.zeros(8), 10**9)
    np.testing.assert_array_equal(driver.read(10**9).setpoint, before)


@pytest.mark.parametrize(
    ("spoil", "number", "told"),
    [
        (lambda info: info.update(fps=30), 0, r"Got 30 frames per second\. Expected 25"),
        (rename, 0, "other cameras"),
        (lambda info: info["features"]["observation.images.opst_cam"].update(shape=[9, 9, 3]), 0,
         "another size"),
        (lambda info: info["features"]["observation.state"].update(shape=[14]), 0, "another arm"),
        (lambda info: info["features"].pop("action"), 0, "no recorded actions"),
        (lambda info: None, 7, "no episode 7. Expected one of 0 to 1"),
    ],
)  # fmt: skip
def test_a_wrong_dataset_is_refused_in_one_paragraph(
    dataset: Path, spoil: Any, number: int, told: str
) -> None:
    change(dataset, spoil)
    with pytest.raises(UsageError, match=told) as caught:
        load_episode(dataset, number, facts())
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_run_folder_pairs_each_picture_with_the_state_of_its_time(tmp_path: Path) -> None:
    """The arm reports before its cameras deliver; the film says when it begins."""
    folder, late_s = make_run(tmp_path, 2.0, video=False), 0.6
    film = VideoWriter(folder.video, facts().cameras)
    for index in range(30):
        t_ns = START_NS + round((late_s + 0.04 * index) * 1e9)
        for camera in reversed(facts().cameras):
            film.add(camera, t_ns, np.full((48, 64, 3), 20 + 5 * index, np.uint8))
    film.close()
    folder.write_manifest(manifest(task=""))
    episode = load_episode(folder.path, 0, facts())
    assert episode.instruction == "pick up the <red> can", "a twin makes its own"
    lag_s = 0.06
    wanted = path_m(np.maximum(late_s + episode.t_s - lag_s, 0.0))
    np.testing.assert_allclose(episode.states[:, :3], wanted, atol=1e-9)
    part = episode.films[facts().cameras[1]]
    assert part.start_s == pytest.approx(0.0, abs=1e-6) and part.left == 64


def test_the_number_of_an_episode_is_read_from_its_name(tmp_path: Path) -> None:
    assert parse_episode("a/b:3") == (Path("a/b"), 3)
    assert parse_episode("a/b") == (Path("a/b"), 0)
    with pytest.raises(UsageError, match=r"DATASET\[:N\]"):
        parse_episode("a/b:x")
    with pytest.raises(UsageError, match="no folder"):
        load_episode(tmp_path / "gone", 0, facts())
    with pytest.raises(UsageError, match="a folder without"):
        load_episode(tmp_path, 0, facts())


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"episode": ""}, "no --episode"),
        ({"bundle": None}, "no --bundle"),
        ({"sim": True}, "no --sim"),
        ({"camera": ("opst=v4l2:0",)}, "no --camera"),
        ({"robot": "franka", "sim": True}, "only for a replay"),
    ],
)
def test_a_replay_says_what_goes_with_it(flags: dict[str, Any], told: str) -> None:
    config = RunConfig(robot="replay", episode="x:0", bundle=Path("b"))
    with pytest.raises(UsageError, match=told):
        check(msgspec.structs.replace(config, **flags))
    with pytest.raises(ConfigError, match="tolerance"):
        check(msgspec.structs.replace(config, camera_tolerance_ms=0.0))


def test_a_replay_lasts_as_long_as_its_episode(dataset: Path) -> None:
    config = RunConfig(robot="replay", episode=f"{dataset}:1", bundle=Path("b"))
    check(config)
    episode = load_episode(*parse_episode(config.episode), facts())
    filled = of_episode(config, episode)
    assert filled.task == TASKS[1]
    assert episode.length_s < filled.duration < episode.length_s + 2.0


def arrived(t_ns: int, offset_m: float, gripper: float) -> ChunkArrived:
    """Return a chunk that predicts the recorded actions from ``t_ns`` on, shifted in y."""
    first = round((t_ns - START_NS) / 40e6)
    rows = np.array([[*pose(first + i + 1), gripper] for i in range(4)], "<f4")
    rows[:, 1] += offset_m
    return ChunkArrived(
        t_ns=t_ns + 10, sequence=1, generation=1, t_obs_ns=t_ns, inference_s=0.1,
        control_period_s=0.04, rows=4, columns=7, actions=rows.tobytes(),
    )  # fmt: skip


def test_predictions_are_compared_with_what_was_recorded(dataset: Path, tmp_path: Path) -> None:
    folder = make_run(tmp_path, 1.0, video=False)
    write_recorded(folder.recorded, load_episode(dataset, 1, facts()))
    data = load_run(folder.path)
    others = [e for e in data.events if not isinstance(e, ChunkArrived | EpisodeStarted)]
    started = EpisodeStarted(t_ns=START_NS, episode=1, seed=1)
    exact, shifted = arrived(START_NS, 0.0, 1.0), arrived(START_NS + 6 * 40_000_000, 0.02, 1.0)
    data.events = [started, exact, shifted, *others]
    errors = prediction_errors(data)
    assert errors is not None
    assert errors.chunks == 2
    assert errors.beyond_end == 1  # steps 6, 7, 8 and 9 of an episode of nine
    assert [step.count for step in errors.steps] == [2, 2, 2, 1]
    first, last = errors.steps[0], errors.steps[3]
    assert first.position_m is not None and first.position_m.max == pytest.approx(0.02, abs=1e-4)
    assert last.position_m is not None and last.position_m.max == pytest.approx(0.0, abs=1e-4)
    assert first.rotation_rad is not None and first.rotation_rad.max < 1e-3
    assert first.gripper_share == 0.5 and last.gripper_share == 1.0
    assert errors.standing_m is not None and errors.standing_m.max == pytest.approx(0.04, abs=1e-4)
    page = report_html(data, summarise_data(data))
    assert "Predicted and recorded" in page and "over the horizon" in page


@pytest.mark.parametrize("good", [0, 1])
def test_a_policy_that_answers_no_numbers_has_a_report(
    dataset: Path, tmp_path: Path, good: int
) -> None:
    folder = make_run(tmp_path, 1.0, video=False)
    write_recorded(folder.recorded, load_episode(dataset, 1, facts()))
    data = load_run(folder.path)
    others = [e for e in data.events if not isinstance(e, ChunkArrived | EpisodeStarted)]
    chunks = [arrived(START_NS, 0.0, 1.0)] * good
    broken = arrived(START_NS + 40_000_000, np.nan, 1.0)
    data.events = [EpisodeStarted(t_ns=START_NS, episode=1, seed=1), *chunks, broken, *others]
    errors = prediction_errors(data)
    assert errors is not None
    assert (errors.chunks, errors.invalid, errors.beyond_end) == (good, 1, 0)
    summary = summarise_data(data)
    assert "1 chunks held actions that are no numbers" in report_html(data, summary)
    assert ("chunks that hold no numbers", "1") in sections(summary)[0][1]


def test_any_other_run_has_no_predictions(tmp_path: Path) -> None:
    data = load_run(make_run(tmp_path, 1.0, video=False).path)
    assert prediction_errors(data) is None
    assert "Predicted and recorded" not in report_html(data, summarise_data(data))
