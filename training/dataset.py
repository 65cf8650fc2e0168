"""Recorded episodes as a training finds them: steps with history, and their statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.runtime.policy_api import HISTORY_STEPS
from dvla.runtime.pose import state_input
from dvla.training.collect.frames import EpisodeInfo, map_episode, recorded
from dvla.training.containers import container_of
from dvla.training.draws import Pool
from dvla.training.lerobot.imported import as_episodes
from dvla.training.pictures import STORED, Pictures
from dvla.training.seeds import refuse_test_seeds
from dvla.training.statistics import Moments, Statistics

VALIDATION_SHARE = 20
"""One in so many episodes is held out."""
_NEAR_M, _LIFTED_M = 0.06, 0.05
_ACTION_WIDTH, _OBJECT_WIDTH = 7, 6
_LEAST = 0.01
"""Deviation of what never varies."""
_OPEN = 512
"""Episodes that are kept open."""


class Episodes:
    """The steps of all whole episodes in some folders, mapped from disk.

    ``steps`` are all of them, ``decisive`` those whose chunk opens or closes the fingers, and
    ``approach`` those on the way to the object, where it is known.

    Args:
        folders: of recorded episodes, or LeRobot datasets.
        weights: how often a step of each folder is drawn, relative to the others'; alike when none
            are given.
        history_steps: frames of an observation relative to now, oldest first; what lies before the
            start of an episode is its first frame.
        state_width: of the states that the network takes (``dvla.runtime.pose.state_input``).
        held_out: take the validation share instead of the rest.
        pictures: of the policy that is trained.

    Raises:
        UsageError: a folder is not there, none holds episodes, one holds episodes of reserved seeds
            or with pictures of another policy, or the folders' episodes are of different arms.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        history_steps: Sequence[int] = HISTORY_STEPS,
        *,
        weights: Sequence[float] = (),
        state_width: int = 6,
        held_out: bool = False,
        pictures: Pictures = STORED,
    ) -> None:
        self._layout = pictures.step
        self._history_steps, self._state_width = tuple(history_steps), state_width
        self._folder_weights = _one_for_each(folders, weights)
        for folder in folders:
            if not folder.is_dir():
                raise UsageError(
                    f"There is no folder {folder}",
                    expected="what dvla-collect wrote, or a LeRobot dataset",
                    next_command=f"dvla-collect --out {folder}",
                )
        self._folders = tuple(as_episodes(folder, pictures) for folder in folders)
        self._held_out = held_out
        self._lengths: list[int] = []
        self._weights: list[float] = []
        self._at: list[tuple[Path, int]] = []
        self._map = lru_cache(_OPEN)(self._open)
        self.infos: list[EpisodeInfo] = []
        self._containers: list[NDArray[np.float32]] = []
        self._known: set[tuple[Path, int]] = set()
        self._looked_ns: dict[Path, int] = {}
        self._decisive: list[NDArray[np.int64]] = []
        self._approach: list[NDArray[np.int64]] = []
        self.refresh()
        if held_out and not self.infos and any(recorded(folder) for folder in self._folders):
            raise UsageError(
                "None of the episodes is held out, so that errors cannot be told",
                got=", ".join(str(folder) for folder in folders),
                expected=f"one at least whose seed is divisible by {VALIDATION_SHARE}",
                next_command=f"record more of them: {VALIDATION_SHARE} in a row have one",
            )
        if not self.infos:
            raise UsageError(
                "There are no episodes to train on",
                got=", ".join(str(folder) for folder in folders),
                next_command=f"dvla-collect --out {folders[0]}",
            )

    @property
    def robot(self) -> str:
        """The arm of those that say whose they are; empty where none does."""
        return next((info.robot for info in self.infos if info.robot), "")

    def refresh(self) -> None:
        """Take in what was recorded since."""
        before = len(self.infos)
        for folder, weight in zip(self._folders, self._folder_weights, strict=True):
            changed_ns = folder.stat().st_mtime_ns
            if self._looked_ns.get(folder) == changed_ns:
                continue  # reading ten thousands of descriptions again takes a second
            self._looked_ns[folder] = changed_ns
            found = recorded(folder)
            refuse_test_seeds(found)
            for seed, info in found.items():
                held_out = seed % VALIDATION_SHARE == 0
                if held_out != self._held_out or (folder, seed) in self._known or not info.steps:
                    continue
                self._known.add((folder, seed))
                self._take_in(folder, info, weight)
        if len(self.infos) == before:
            return
        _refuse_mixed_arms(self.infos)
        self._starts = np.concatenate([[0], np.cumsum(self._lengths, dtype=np.int64)])
        self.steps = self._pool([np.arange(length) for length in self._lengths])
        self.decisive = self._pool(self._decisive)
        self.approach = self._pool(self._approach)

    def _take_in(self, folder: Path, info: EpisodeInfo, weight: float) -> None:
        steps = map_episode(folder, info.seed, self._layout)
        self._at.append((folder, info.seed))
        self._lengths.append(len(steps))
        self._weights.append(weight)
        self.infos.append(info)
        self._containers.append(container_of(info))
        gripper = steps["actions"][..., 6]
        self._decisive.append(np.flatnonzero(gripper.min(axis=1) != gripper.max(axis=1)))
        target, hand = steps["object"], steps["state"]
        apart_m = np.linalg.norm(target[:, :2] - hand[:, :2], axis=1)
        self._approach.append(np.flatnonzero((apart_m > _NEAR_M) & (target[:, 2] < _LIFTED_M)))

    def _open(self, episode: int) -> NDArray[np.void]:
        """Map an episode; each that is open holds a file descriptor, of which there are few."""
        return map_episode(*self._at[episode], self._layout)

    def _pool(self, places: Sequence[NDArray[np.int64]]) -> Pool:
        """Return what is drawn of places in each episode."""
        found = [start + at for start, at in zip(self._starts[:-1], places, strict=True)]
        return Pool(found, self._weights)

    def __len__(self) -> int:
        """Return the number of steps."""
        return int(self._starts[-1])

    def statistics(self) -> Statistics:
        """Return the statistics of all steps; rotations that never vary get a deviation of 0.01.

        One episode after another is read, once: they may be more than memory holds.
        """
        width = self._state_width
        state, actions, target = Moments(width), Moments(_ACTION_WIDTH), Moments(_OBJECT_WIDTH)
        for episode in range(len(self.infos)):
            steps = self._open(episode)
            back = np.maximum(np.arange(len(steps))[:, None] + self._history_steps, 0)
            inputs = state_input(steps["state"][back], width)
            relative = steps["actions"].astype(np.float64)
            relative[..., :6] -= inputs[:, None, :6]
            objects = np.array(steps["object"])
            state.add(inputs)
            actions.add(relative.reshape(-1, _ACTION_WIDTH))
            target.add(objects[np.isfinite(objects).all(axis=1)])  # others do not know it
        return Statistics(
            state_mean=state.mean,
            state_std=state.deviation(least=_LEAST),
            action_mean=actions.mean,
            action_std=actions.deviation(least=_LEAST),
            object_mean=target.mean,
            object_std=target.deviation(least=_LEAST),
            episodes=len(self.infos),
            steps=len(self),
        )

    def rows(
        self, indices: NDArray[np.int64]
    ) -> tuple[NDArray[np.void], NDArray[np.uint8], NDArray[np.float32], list[EpisodeInfo]]:
        """Return some steps, and of each the frames, the state that goes in, and its episode.

        Returns:
            The steps (B,), frames (B, N, n_obs, H, W, 3), states (B, S), and B episodes.
        """
        places = self._places(indices)
        now = np.empty(len(places), self._layout)
        pictures = now["images"]
        seen = len(self._history_steps)
        frames = np.empty((*pictures.shape[:2], seen, *pictures.shape[2:]), pictures.dtype)
        for row, (episode, step) in enumerate(places):
            steps = self._map(episode)
            now[row] = steps[step]
            frames[row] = steps["images"][self._back(step)].swapaxes(0, 1)
        return now, frames, self._states(indices), [self.infos[e] for e, _ in places]

    def _back(self, step: int) -> NDArray[np.int64]:
        """Return the steps of an observation, oldest first; what lies before the start is it."""
        back: NDArray[np.int64] = np.maximum(step + np.array(self._history_steps), 0)
        return back

    def spots(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return where the object is in the frames of some steps (B, N, n_obs, 2)."""
        return self._observed("spots", indices).swapaxes(1, 2)

    def containers(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return where the containers of some steps stand (B, 2) [m]; NaN where there is none."""
        return np.stack([self._containers[e] for e, _ in self._places(indices)])

    def _states(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the states (B, S) of some steps as the network takes them."""
        return state_input(self._observed("state", indices), self._state_width)

    def _observed(self, field: str, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a field of the steps of some observations (B, n_obs, ...), oldest first."""
        places = self._places(indices)
        return np.stack([self._map(e)[field][self._back(i)] for e, i in places])

    def _places(self, indices: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Return the episode of each step, and its place in it."""
        episodes = np.searchsorted(self._starts, indices, side="right") - 1
        places = indices - self._starts[episodes]
        return list(zip(episodes.tolist(), places.tolist(), strict=True))


def _one_for_each(folders: Sequence[Path], weights: Sequence[float]) -> tuple[float, ...]:
    """Return the weight of each folder, or raise a UsageError."""
    if weights and len(weights) != len(folders):
        raise UsageError(
            "--weights must give one number for each folder of --data",
            got=f"{len(weights)} for {len(folders)} folders",
            next_command=f"--weights {' '.join('1' for _ in folders)} draws from all alike",
        )
    if not all(weight > 0.0 and math.isfinite(weight) for weight in weights):
        raise UsageError(
            "--weights must be above 0",
            got=" ".join(f"{weight:g}" for weight in weights),
            next_command="leave a folder that is not wanted out of --data",
        )
    return tuple(weights) or (1.0,) * len(folders)


def _refuse_mixed_arms(infos: Sequence[EpisodeInfo]) -> None:
    """Raise a UsageError where episodes are of different arms; those that do not say may be any."""
    arms = sorted({info.robot for info in infos} - {""})
    if len(arms) > 1:
        raise UsageError(
            "The episodes are of different arms",
            got=", ".join(arms),
            expected="one: poses, reach and pictures of a policy are those of its arm",
            next_command="leave the folders of the others out of --data",
        )
