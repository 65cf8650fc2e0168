"""Observations of a LeRobot dataset, version 2.1 or 3.0: parquet tables beside MP4 films."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.runtime.recordings.film import frames_at
from dvla.runtime.recordings.lerobot_tables import (
    Episode,
    Film,
    damaged,
    lines,
    place,
    read_info,
)
from dvla.runtime.recordings.lerobot_tables import rows as read_rows

STATE = "observation.state"
ACTION = "action"
Observed = tuple[NDArray[np.uint8], NDArray[np.float32], str]


class Facts(Protocol):
    """What a dataset must fit: of a bundle's ``PolicyFacts``, or of a training."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Keys of the films."""

    @property
    def camera_width(self) -> int:
        """Of the frames [pixels]."""

    @property
    def camera_height(self) -> int:
        """Of the frames [pixels]."""

    @property
    def state_width(self) -> int:
        """Numbers of a state."""

    @property
    def history_steps(self) -> tuple[int, ...]:
        """Frames of an observation, in control steps from now."""

    @property
    def control_period_s(self) -> float:
        """Duration of a control step [s]."""


class LeRobotDataset:
    """A dataset, checked against a policy; nothing but its tables of contents is read yet.

    Args:
        path: folder of the dataset.
        facts: cameras, frame size and state width that the policy was trained on.
        any_size: frames may be of another size; whoever reads the films brings them to it.

    Raises:
        UsageError: it is not such a dataset, or one of another robot.
        MissingDependency: pyarrow is not installed.
    """

    def __init__(self, path: Path, facts: Facts, *, any_size: bool = False) -> None:
        self._path, self._facts = path, facts
        self._info = read_info(path)
        self._require_features(any_size=any_size)
        try:
            self._tasks = dict(self._read_tasks())
            self._episodes = tuple(each for each in self._read_episodes() if each.length > 0)
        except (KeyError, IndexError, TypeError, ValueError, OSError) as error:
            raise damaged(path / "meta", error) from error
        if not self._episodes:
            raise UsageError(f"{path} has no episodes", expected="at least one recorded episode")

    @property
    def description(self) -> str:
        """What the observations are of, for people."""
        return f"LeRobot dataset {self._path.resolve().name}, {len(self._episodes)} episodes"

    def observations(self, count: int) -> Iterator[Observed]:
        """Yield frames (cameras, n_obs, h, w, 3), states (n_obs, S) and instruction of some steps.

        The steps are spread evenly over all episodes: the same dataset always gives the same ones.
        History before an episode's beginning is its first frame, as in training.
        """
        lengths = np.array([episode.length for episode in self._episodes])
        ends = np.cumsum(lengths)
        wanted = ((np.arange(count) + 0.5) * ends[-1] / count).astype(np.int64)
        for which in np.unique(np.searchsorted(ends, wanted, side="right")):
            begin = ends[which] - lengths[which]
            inside = wanted[(wanted >= begin) & (wanted < ends[which])] - begin
            yield from self._of_episode(self._episodes[which], np.unique(inside))

    @property
    def fps(self) -> float:
        """Steps per second."""
        return self._info.fps

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """Every episode that has a step."""
        return self._episodes

    def has(self, feature: str) -> bool:
        """Whether there is a column of that name."""
        return feature in self._info.features

    def task(self, number: Any, episode: int) -> str:
        """Return the words of a task.

        Raises:
            UsageError: there is none of that number.
        """
        words = self._tasks.get(number)
        if words is None:
            raise UsageError(
                f"Episode {episode} names a task that {self._path} does not have",
                got=number,
                choices=map(str, self._tasks),
            )
        return words

    def steps(self, episode: Episode, *columns: str) -> list[dict[str, Any]]:
        """Return the rows of an episode, one per step.

        Raises:
            UsageError: some are missing.
        """
        told = [*columns, "task_index", "episode_index", "timestamp"]
        rows = [
            row for row in read_rows(episode.table, told) if row["episode_index"] == episode.index
        ]
        if len(rows) != episode.length:
            raise UsageError(
                f"Episode {episode.index} in {episode.table} is not whole",
                got=f"{len(rows)} steps",
                expected=f"{episode.length}",
            )
        return rows

    def _of_episode(self, episode: Episode, offsets: NDArray[np.int64]) -> Iterator[Observed]:
        rows = self.steps(episode, STATE)
        fps, period_s = self._info.fps, self._facts.control_period_s
        back = [round(step * period_s * fps) for step in self._facts.history_steps]
        steps = np.maximum(offsets[:, None] + np.array(back), 0)
        clock_s = np.array([row["timestamp"] for row in rows], np.float64)
        films = [self._frames(episode, key, clock_s[steps]) for key in self._facts.cameras]
        frames = np.stack(films, axis=1)
        for case, offset in enumerate(offsets):
            states = np.stack([self._state(episode, rows, step) for step in steps[case]])
            yield frames[case], states, self.task(rows[offset]["task_index"], episode.index)

    def _state(
        self, episode: Episode, rows: list[dict[str, Any]], step: int
    ) -> NDArray[np.float32]:
        """Return the state (S,) of a step; raise a UsageError unless it is one of the policy's."""
        state = np.asarray(rows[step][STATE], np.float32)
        if state.shape != (self._facts.state_width,) or not np.isfinite(state).all():
            raise UsageError(
                f"Step {step} of episode {episode.index} in {episode.table} has no state",
                got=state.tolist(),
                expected=f"{self._facts.state_width} finite numbers",
            )
        return state

    def _frames(
        self, episode: Episode, camera: str, times_s: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        """Return frames (cases, n_obs, h, w, 3) of one camera at times (cases, n_obs) [s]."""
        film = episode.films[camera]
        frames = frames_at(
            film.path, (times_s.ravel() + film.start_s).tolist(), 0.6 / self._info.fps
        )
        shape = (self._facts.camera_height, self._facts.camera_width, 3)
        if frames.shape[1:] != shape:
            raise other_size(film.path, frames.shape[2], frames.shape[1], self._facts)
        return frames.reshape(*times_s.shape, *shape)

    def _require_features(self, *, any_size: bool) -> None:
        """Raise a UsageError unless the dataset has the policy's cameras, frame size and state."""
        features, facts = self._info.features, self._facts
        films = sorted(key for key, feature in features.items() if feature.dtype == "video")
        if not set(facts.cameras) <= set(films) or self._info.video_path is None:
            raise UsageError(
                f"{self._path} was recorded with other cameras than the policy sees",
                got=f"films of {', '.join(films) or 'none'}",
                expected=f"films of {', '.join(facts.cameras)}",
            )
        for key in facts.cameras:
            height, width, *_ = (*features[key].shape, 0, 0)
            if not any_size and (height, width) != (facts.camera_height, facts.camera_width):
                raise other_size(self._path / key, width, height, facts)
        state = features.get(STATE)
        if state is None or state.shape != (facts.state_width,):
            raise UsageError(
                f"{self._path} was recorded on another arm than the policy moves",
                got=f"{STATE} of shape {list(state.shape)}" if state else f"no {STATE}",
                expected=f"{STATE} of shape [{facts.state_width}]",
            )

    def _read_tasks(self) -> Iterator[tuple[int, str]]:
        """Yield the number and the words of every task."""
        if self._info.codebase_version == "v2.1":
            for row in lines(self._path / "meta/tasks.jsonl"):
                yield int(row["task_index"]), str(row["task"])
            return
        for row in read_rows(self._path / "meta/tasks.parquet"):
            # pandas stores the words as the table's index, under a name of its own.
            yield int(row["task_index"]), str(row.get("task", row.get("__index_level_0__")))

    def _read_episodes(self) -> Iterator[Episode]:
        """Yield where every episode lies."""
        info, root = self._info, self._path
        video_path = info.video_path or ""
        if info.codebase_version == "v2.1":
            for row in lines(root / "meta/episodes.jsonl"):
                index = int(row["episode_index"])
                told = {"episode_index": index, "episode_chunk": index // info.chunks_size}
                yield Episode(
                    index=index,
                    length=int(row["length"]),
                    table=root / info.data_path.format(**told),
                    films={
                        key: Film(path=root / video_path.format(video_key=key, **told))
                        for key in self._facts.cameras
                    },
                )
            return
        for file in sorted((root / "meta/episodes").glob("chunk-*/file-*.parquet")):
            for row in read_rows(file):
                yield Episode(
                    index=int(row["episode_index"]),
                    length=int(row["length"]),
                    table=root / info.data_path.format(**place(row, "data")),
                    films={
                        key: Film(
                            path=root
                            / video_path.format(video_key=key, **place(row, f"videos/{key}")),
                            start_s=float(row[f"videos/{key}/from_timestamp"]),
                        )
                        for key in self._facts.cameras
                    },
                )


def other_size(path: Path, width: int, height: int, facts: Facts) -> UsageError:
    """Return the error of frames (height, width) in pixels that are not the policy's size."""
    return UsageError(
        f"The frames of {path} have another size than the policy's cameras",
        got=f"{width}x{height}",
        expected=f"{facts.camera_width}x{facts.camera_height}",
        next_command=f"export with --camera-size {width}x{height}",
    )
