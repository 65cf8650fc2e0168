"""A LeRobot dataset as episodes of a training: decoded and shrunk once, kept beside its tables."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.runtime.recordings.lerobot import LeRobotDataset
from dvla.runtime.recordings.lerobot_tables import INFO_NAME, Episode, damaged, read_info
from dvla.training.collect.frames import HORIZON, EpisodeInfo, recorded, write_episode
from dvla.training.lerobot.film import frames_of
from dvla.training.lerobot.schema import ACTION, FPS, OBJECT, STATE, Provenance
from dvla.training.pictures import STORED, Pictures

FOREIGN_SEED = 1_000_000
"""Number of the first episode of a dataset that knows no seeds."""
_WIDTHS = {STATE: 6, ACTION: 7}
_NEAR_M = 0.3
"""A commanded pose lies nearer to the state than this, nearly always; an offset does not."""


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset must have, whatever the size of its frames."""

    camera_width: int
    camera_height: int
    cameras: tuple[str, ...]
    state_width: int = _WIDTHS[STATE]
    history_steps: tuple[int, ...] = (0,)
    control_period_s: float = 1.0 / FPS


def as_episodes(folder: Path, pictures: Pictures = STORED) -> Path:
    """Return the folder of episodes behind a folder that a training is given.

    A LeRobot dataset is taken in first, with its frames as the policy sees them; any other folder
    is returned as it is.

    Args:
        folder: of the episodes or of the dataset.
        pictures: of the policy.

    Raises:
        UsageError: the dataset has other cameras, widths or rates than a policy of ours takes, or
            the episodes were recorded with other pictures than this policy sees.
    """
    if not (folder / INFO_NAME).is_file():
        if pictures != STORED and recorded(folder):
            (height, width), (stored_height, stored_width) = pictures.square, STORED.square
            raise UsageError(
                f"{folder} holds episodes for the nano policies: this one sees other pictures",
                got=f"pictures of {stored_width}x{stored_height}, the fixed camera's cropped",
                expected=f"a LeRobot dataset, whose films become pictures of {width}x{height}",
                next_command="dvla-collect --format lerobot-v3.0 --out DATASET",
            )
        return folder
    dataset = _open(folder, pictures)
    provenance = _provenance(folder, len(dataset.episodes))
    inside = folder / ".dvla" / f"episodes-{pictures.name}"
    inside.mkdir(parents=True, exist_ok=True)
    done = recorded(inside)
    for number, episode in enumerate(dataset.episodes):
        seed = provenance.seeds[number] if provenance else FOREIGN_SEED + episode.index
        if seed not in done:
            latency_ms = provenance.latencies_ms[number] if provenance else 0.0
            robot = provenance.robot if provenance else ""
            told = EpisodeInfo(
                seed=seed,
                instruction="",
                kind="",
                speed=0.0,
                outcome="success",
                steps=0,
                controller=folder.resolve().name,
                latency_ms=latency_ms,
                duration_s=0.0,
                robot=robot,
            )
            write_episode(inside, *_convert(folder, dataset, episode, pictures, told))
    return inside


def _open(folder: Path, pictures: Pictures) -> LeRobotDataset:
    """Return the dataset, checked."""
    info = read_info(folder)
    sizes = [info.features[key].shape for key in pictures.keys if key in info.features]
    height, width, *_ = (*(sizes[0] if sizes else ()), 0, 0)
    facts = _Facts(camera_width=width, camera_height=height, cameras=pictures.keys)
    dataset = LeRobotDataset(folder, facts)
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


def _provenance(folder: Path, episodes: int) -> Provenance | None:
    """Return what a dataset of ours says of its episodes, or None for one of others."""
    path = folder / "meta/dvla.json"
    if not path.exists():
        return None
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Provenance)
        if not len(found.seeds) == len(found.latencies_ms) == episodes:
            raise ValueError(f"{len(found.seeds)} seeds of {episodes} episodes")
        return found
    except ValueError as error:  # msgspec's are of that kind
        raise UsageError(
            f"{path} cannot be read",
            got=str(error),
            next_command="dvla-collect --format lerobot-v3.0",
        ) from error


def _convert(
    folder: Path,
    dataset: LeRobotDataset,
    episode: Episode,
    pictures: Pictures,
    told: EpisodeInfo,
) -> tuple[EpisodeInfo, NDArray[np.void]]:
    """Return an episode as the training takes it; chunks end with the last action, repeated."""
    has_object = dataset.has(OBJECT)
    rows = dataset.steps(episode, STATE, ACTION, *([OBJECT] if has_object else []))
    state = np.array([row[STATE] for row in rows], np.float32)
    action = np.array([row[ACTION] for row in rows], np.float32)
    _refuse_no_numbers(folder, episode, state, action)
    _refuse_offsets(folder, state, action)
    state[:, (3, 5)] %= 2.0 * np.pi  # as every policy is given them
    steps = np.zeros(len(rows), pictures.step)
    steps["state"] = state
    ahead = np.minimum(np.arange(len(rows))[:, None] + np.arange(HORIZON), len(rows) - 1)
    steps["actions"] = action[ahead]
    turns = steps["actions"][..., 3:6] - state[:, None, 3:6]
    steps["actions"][..., 3:6] -= 2.0 * np.pi * np.round(turns / (2.0 * np.pi))
    steps["object"] = [row[OBJECT] for row in rows] if has_object else np.nan
    steps["spots"] = np.nan
    for camera, key in enumerate(pictures.keys):
        for step, frame in zip(steps, _frames(episode, key, len(rows)), strict=True):
            step["images"][camera] = pictures.prepare(frame, camera)
    instruction = dataset.task(rows[0]["task_index"], episode.index)
    return msgspec.structs.replace(told, instruction=instruction, steps=len(rows)), steps


def _frames(episode: Episode, key: str, count: int) -> list[NDArray[np.uint8]]:
    """Return a camera's frames of an episode (h, w, 3) each."""
    film = episode.films[key]
    try:
        frames = frames_of(film.path, round(film.start_s * FPS), count)
    except (OSError, ValueError, IndexError) as error:  # PyAV's are of the first two kinds
        raise damaged(film.path, error) from error
    if len(frames) != count:
        raise UsageError(
            f"{film.path} is shorter than its episode",
            got=f"{len(frames)} frames",
            expected=f"{count}",
            next_command="download or record the dataset again",
        )
    return frames


def _refuse_no_numbers(
    folder: Path, episode: Episode, state: NDArray[np.float32], action: NDArray[np.float32]
) -> None:
    """Raise a UsageError when a value is none: one of them is enough to end a training."""
    for name, values in ((STATE, state), (ACTION, action)):
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(wrong):
            raise UsageError(
                f"{folder} has values that are no numbers",
                got=f"{name} of episode {episode.index}, step {wrong[0]}"
                + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""),
                next_command="leave that episode out of the dataset",
            )


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
