"""A LeRobot dataset as episodes of a training: decoded and shrunk once, kept beside its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.export.arch import Crop
from dvla.runtime.recordings.lerobot import LeRobotDataset
from dvla.runtime.recordings.lerobot_tables import INFO_NAME, Episode, read_info
from dvla.training.collect.frames import (
    CROPS,
    HORIZON,
    IMAGE_HEIGHT,
    IMAGE_SIZE,
    IMAGE_WIDTH,
    STEP,
    EpisodeInfo,
    recorded,
    write_episode,
)
from dvla.training.collect.shrink import shrink
from dvla.training.lerobot.film import frames_of
from dvla.training.lerobot.schema import ACTION, CAMERA_KEYS, FPS, OBJECT, STATE, Provenance

FOREIGN_SEED = 1_000_000
"""Number of the first episode of a dataset that knows no seeds."""
_WIDTHS = {STATE: 6, ACTION: 7}
_NEAR_M = 0.3
"""A commanded pose lies nearer to the state than this, nearly always; an offset does not."""


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset must have, whatever the size of its frames."""

    camera_width: int
    camera_height: int
    cameras: tuple[str, ...] = CAMERA_KEYS
    state_width: int = _WIDTHS[STATE]
    history_steps: tuple[int, ...] = (0,)
    control_period_s: float = 1.0 / FPS


def as_episodes(folder: Path) -> Path:
    """Return the folder of episodes behind a folder that a training is given.

    A LeRobot dataset is taken in first; any other folder is returned as it is.

    Raises:
        UsageError: the dataset has other cameras, widths or rates than a policy of ours takes.
    """
    if not (folder / INFO_NAME).is_file():
        return folder
    dataset, provenance = _open(folder), _provenance(folder)
    inside = folder / ".dvla" / f"episodes-{IMAGE_WIDTH}x{IMAGE_HEIGHT}"
    inside.mkdir(parents=True, exist_ok=True)
    done = recorded(inside)
    for number, episode in enumerate(dataset.episodes):
        seed = provenance.seeds[number] if provenance else FOREIGN_SEED + episode.index
        if seed not in done:
            latency_ms = provenance.latencies_ms[number] if provenance else 0.0
            robot = provenance.robot if provenance else ""
            write_episode(inside, *_convert(folder, dataset, episode, seed, latency_ms, robot))
    return inside


def _open(folder: Path) -> LeRobotDataset:
    """Return the dataset, checked."""
    info = read_info(folder)
    sizes = [info.features[key].shape for key in CAMERA_KEYS if key in info.features]
    height, width, *_ = (*(sizes[0] if sizes else ()), 0, 0)
    dataset = LeRobotDataset(folder, _Facts(camera_width=width, camera_height=height))
    action = info.features.get(ACTION)
    if action is None or action.shape != (_WIDTHS[ACTION],):
        raise UsageError(
            f"{folder} has other actions than a policy of ours gives",
            got=f"{ACTION} of shape {list(action.shape)}" if action else f"no {ACTION}",
            expected=f"{ACTION} of shape [7]: x, y, z [m], rx, ry, rz [rad], gripper; absolute",
        )
    if info.fps != FPS:
        raise UsageError(
            f"{folder} was recorded at another rate than policies act at",
            got=f"{info.fps:g} frames per second",
            expected=f"{FPS}",
            next_command="resample the dataset, then train on the result",
        )
    return dataset


def _provenance(folder: Path) -> Provenance | None:
    """Return what a dataset of ours says of itself, or None for one of others."""
    path = folder / "meta/dvla.json"
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Provenance)
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"{path} cannot be read",
            got=str(error),
            next_command="dvla-collect --format lerobot-v3.0",
        ) from error


def _convert(
    folder: Path,
    dataset: LeRobotDataset,
    episode: Episode,
    seed: int,
    latency_ms: float,
    robot: str,
) -> tuple[EpisodeInfo, NDArray[np.void]]:
    """Return an episode as the training takes it; chunks end with the last action, repeated."""
    has_object = dataset.has(OBJECT)
    rows = dataset.steps(episode, STATE, ACTION, *([OBJECT] if has_object else []))
    state = np.array([row[STATE] for row in rows], np.float32)
    action = np.array([row[ACTION] for row in rows], np.float32)
    _refuse_offsets(folder, state, action)
    steps = np.zeros(len(rows), STEP)
    steps["state"] = state
    ahead = np.minimum(np.arange(len(rows))[:, None] + np.arange(HORIZON), len(rows) - 1)
    steps["actions"] = action[ahead]
    turns = steps["actions"][..., 3:6] - state[:, None, 3:6]
    steps["actions"][..., 3:6] -= 2.0 * np.pi * np.round(turns / (2.0 * np.pi))
    steps["object"] = [row[OBJECT] for row in rows] if has_object else np.nan
    steps["spots"] = np.nan
    for index, key in enumerate(CAMERA_KEYS):
        steps["images"][:, index] = _pictures(episode, key, rows, CROPS[index])
    info = EpisodeInfo(
        seed=seed,
        instruction=dataset.task(rows[0]["task_index"], episode.index),
        kind="",
        speed=0.0,
        outcome="success",
        steps=len(rows),
        controller=folder.resolve().name,
        latency_ms=latency_ms,
        duration_s=0.0,
        robot=robot,
    )
    return info, steps


def _pictures(
    episode: Episode, key: str, rows: list[dict[str, Any]], crop: Crop
) -> NDArray[np.uint8]:
    """Return the shrunk pictures of an episode (n, h, w, 3)."""
    film = episode.films[key]
    frames = frames_of(film.path, round(film.start_s * FPS), len(rows))
    if len(frames) != len(rows):
        raise UsageError(
            f"{film.path} is shorter than its episode",
            got=f"{len(frames)} frames",
            expected=f"{len(rows)}",
            next_command="download or record the dataset again",
        )
    return np.stack([shrink(frame, IMAGE_SIZE, crop) for frame in frames])


def _refuse_offsets(folder: Path, state: NDArray[np.float32], action: NDArray[np.float32]) -> None:
    """Raise a UsageError when actions look like offsets from the state."""
    apart_m = float(np.median(np.linalg.norm(action[:, :3] - state[:, :3], axis=1)))
    if apart_m > _NEAR_M:
        raise UsageError(
            f"The actions of {folder} do not look like poses of the arm",
            got=f"commanded positions {apart_m:.2f} m from the arm's own, in the median",
            expected="absolute poses in the base frame; the training takes the state off itself",
            next_command="add the state of each frame to its action's first six columns",
        )
