"""Recorded episodes as training samples: an observation, the expert's chunk, the true object."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.export.torch_ import Tensor, torch
from dvla.runtime.pose import state_input
from dvla.runtime.tokenizer import PromptEncoder
from dvla.training.collect.frames import HORIZON, EpisodeInfo, map_episode, recorded
from dvla.training.flow_loss import Batch
from dvla.training.lerobot.imported import as_episodes
from dvla.training.seeds import refuse_test_seeds

VALIDATION_SHARE = 20
"""One in so many episodes is held out."""
DECISIVE_SHARE = 0.25
"""Of a training batch, drawn among the steps whose chunk opens or closes the fingers: they are few,
and a policy that misses them catches nothing."""
APPROACH_SHARE = 0.4
"""Of a training batch, drawn among the steps on the way to the object, where it must be seen from
afar; most steps of an episode come after it is in hand."""
_NEAR_M, _LIFTED_M = 0.06, 0.05
_GRAIN = 0.01
_SIDED = re.compile(r"left|right")
"""Instructions that a mirror would make false."""
_FLIPPED, _TURNS = [1, 3, 5], [3, 5]


class Statistics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean and deviation of state, relative actions and object, with where they come from.

    Attributes:
        state_mean / state_std: (S,) [m, rad], as the network takes it.
        action_mean / action_std: (7,) relative actions [m, rad, -].
        object_mean / object_std: (6,) [m, m/s].
        episodes / steps: that they were computed from.
    """

    state_mean: tuple[float, ...]
    state_std: tuple[float, ...]
    action_mean: tuple[float, ...]
    action_std: tuple[float, ...]
    object_mean: tuple[float, ...]
    object_std: tuple[float, ...]
    episodes: int
    steps: int


class Episodes:
    """The steps of all whole episodes in some folders, mapped from disk.

    ``decisive`` holds the indices of the steps whose chunk opens or closes the fingers, and
    ``approach`` those of the steps on the way to the object, where it is known.

    Args:
        folders: of recorded episodes, or LeRobot datasets.
        history_steps: frames of an observation relative to now, oldest first; what lies before the
            start of an episode is its first frame.
        state_width: of the states that the network takes (``dvla.runtime.pose.state_input``).
        held_out: take the validation share instead of the rest.

    Raises:
        UsageError: a folder holds no episodes, or episodes of reserved seeds, or the folders'
            episodes are of different arms.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        history_steps: Sequence[int] = (-2, 0),
        *,
        state_width: int = 6,
        held_out: bool = False,
    ) -> None:
        self._history_steps, self._state_width = tuple(history_steps), state_width
        self._folders = tuple(as_episodes(folder) for folder in folders)
        self._held_out = held_out
        self._maps: list[NDArray[np.void]] = []
        self.infos: list[EpisodeInfo] = []
        self._known: set[tuple[Path, int]] = set()
        self._decisive: list[NDArray[np.int64]] = []
        self._approach: list[NDArray[np.int64]] = []
        self.refresh()
        if not self.infos:
            raise UsageError(
                "There are no episodes to train on",
                got=", ".join(str(folder) for folder in folders),
                next_command=f"dvla-collect --out {folders[0]}",
            )

    def refresh(self) -> None:
        """Take in what was recorded since."""
        for folder in self._folders:
            found = recorded(folder)
            refuse_test_seeds(found)
            for seed, info in found.items():
                held_out = seed % VALIDATION_SHARE == 0
                if held_out != self._held_out or (folder, seed) in self._known or not info.steps:
                    continue
                self._known.add((folder, seed))
                self._maps.append(map_episode(folder, seed))
                self.infos.append(info)
        _refuse_mixed_arms(self.infos)
        lengths = [len(steps) for steps in self._maps]
        self._starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        for steps in self._maps[len(self._decisive) :]:
            gripper = steps["actions"][..., 6]
            self._decisive.append(np.flatnonzero(gripper.min(axis=1) != gripper.max(axis=1)))
            target, hand = steps["object"], steps["state"]
            apart_m = np.linalg.norm(target[:, :2] - hand[:, :2], axis=1)
            self._approach.append(np.flatnonzero((apart_m > _NEAR_M) & (target[:, 2] < _LIFTED_M)))
        self.decisive = self._in_all(self._decisive)
        self.approach = self._in_all(self._approach)

    def _in_all(self, places: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Return the indices among all steps of places in each episode."""
        found = [start + at for start, at in zip(self._starts[:-1], places, strict=True)]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def __len__(self) -> int:
        """Return the number of steps."""
        return int(self._starts[-1])

    def statistics(self) -> Statistics:
        """Return the statistics of all steps; rotations that never vary get a deviation of 0.01."""
        state = self._states(np.arange(len(self))).astype(np.float64)
        actions = np.concatenate([steps["actions"] for steps in self._maps]).astype(np.float64)
        target = np.concatenate([steps["object"] for steps in self._maps]).astype(np.float64)
        target = target[np.isfinite(target).all(axis=1)]  # datasets of others do not know it
        target = target if len(target) else np.zeros((1, 6))
        actions[..., :6] -= state[:, None, :6]
        flat = actions.reshape(-1, actions.shape[-1])

        def row(values: NDArray[np.float64]) -> tuple[float, ...]:
            return tuple(float(value) for value in values)

        def deviation(values: NDArray[np.float64]) -> tuple[float, ...]:
            return row(np.maximum(values.std(axis=0), 0.01))

        return Statistics(
            state_mean=row(state.mean(axis=0)),
            state_std=deviation(state),
            action_mean=row(flat.mean(axis=0)),
            action_std=deviation(flat),
            object_mean=row(target.mean(axis=0)),
            object_std=deviation(target),
            episodes=len(self.infos),
            steps=len(self),
        )

    def rows(
        self, indices: NDArray[np.int64]
    ) -> tuple[NDArray[np.void], NDArray[np.uint8], NDArray[np.float32], list[str]]:
        """Return some steps, and of each the frames, the state that goes in, and the instruction.

        Returns:
            The steps (B,), frames (B, N, n_obs, H, W, 3), states (B, S), and B instructions.
        """
        places = self._places(indices)
        now = np.stack([self._maps[e][i] for e, i in places])
        older = [
            np.stack([self._maps[e]["images"][max(i + step, 0)] for e, i in places])
            for step in self._history_steps[:-1]
        ]
        frames = np.stack([*older, now["images"]], axis=2)
        return now, frames, self._states(indices), [self.infos[e].instruction for e, _ in places]

    def _states(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the states (B, S) of some steps as the network takes them."""
        at = [(self._maps[e]["state"], i) for e, i in self._places(indices)]
        observed = [[state[max(i + step, 0)] for step in self._history_steps] for state, i in at]
        return state_input(np.array(observed), self._state_width)

    def _places(self, indices: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Return the episode of each step, and its place in it."""
        episodes = np.searchsorted(self._starts, indices, side="right") - 1
        return list(
            zip(episodes.tolist(), (indices - self._starts[episodes]).tolist(), strict=True)
        )


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


class Sampler:
    """Draws batches.

    Args:
        episodes: to draw from.
        encoder: of the instructions.
        seed: of the draws.
        augment: change light and colour, the same in both frames of a camera, mirror half of
            the samples (none whose instruction names a side), and draw decisive steps more often.
    """

    def __init__(
        self, episodes: Episodes, encoder: PromptEncoder, seed: int, *, augment: bool
    ) -> None:
        self._episodes, self._encoder, self._augment = episodes, encoder, augment
        self._seed = seed
        self._table = torch.empty(0)
        self.rng = np.random.default_rng(seed)
        self._prompts: dict[str, tuple[NDArray[np.int64], NDArray[np.bool_]]] = {}

    def batch(self, size: int) -> Batch:
        """Draw a batch."""
        indices = self.rng.integers(0, len(self._episodes), size)
        if self._augment:
            at = 0
            for chosen, share in (
                (self._episodes.decisive, DECISIVE_SHARE),
                (self._episodes.approach, APPROACH_SHARE),
            ):
                count = round(share * size) if len(chosen) else 0
                indices[at : at + count] = chosen[self.rng.integers(0, max(1, len(chosen)), count)]
                at += count
        now, frames, state, instructions = self._episodes.rows(indices)
        prompts = [self._prompt(text) for text in instructions]
        # In steps of eight, so that few shapes are compiled.
        longest = -(-max(int(mask.sum()) for _, mask in prompts) // 8) * 8
        target = now["object"].copy()
        actions, spots = now["actions"][:, :HORIZON].copy(), now["spots"].copy()
        if self._augment:
            sided = np.array([_SIDED.search(text) is not None for text in instructions])
            chosen = np.flatnonzero((self.rng.random(size) < 0.5) & ~sided)
            mirror(chosen, frames, state, actions, target, spots)
        return Batch(
            images=self._images(frames),
            token_ids=torch.from_numpy(np.stack([ids for ids, _ in prompts])[:, :longest]),
            token_mask=torch.from_numpy(np.stack([mask for _, mask in prompts])[:, :longest]),
            state=torch.from_numpy(state),
            actions=torch.from_numpy(actions),
            object_state=torch.from_numpy(target),
            spots=torch.from_numpy(spots),
        )

    @property
    def episodes(self) -> int:
        """Number of episodes that are drawn from."""
        return len(self._episodes.infos)

    def refresh(self) -> None:
        """Take in the episodes recorded since."""
        self._episodes.refresh()

    def rewind(self) -> None:
        """Begin the draws again."""
        self.rng = np.random.default_rng(self._seed)

    def state(self) -> str:
        """Return where the draws stand, as text."""
        return json.dumps(self.rng.bit_generator.state)

    def restore(self, state: str) -> None:
        """Go on with the draws from where they stood."""
        self.rng.bit_generator.state = json.loads(state)

    def _prompt(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        if text not in self._prompts:
            prompt = self._encoder.encode(text)
            self._prompts[text] = (prompt.token_ids, prompt.token_mask)
        return self._prompts[text]

    def _images(self, frames: NDArray[np.uint8]) -> Tensor:
        """Map frames (B, N, n_obs, H, W, 3) to the encoder's input (B, N, 3 n_obs, H, W)."""
        batch, cameras, history, height, width, _ = frames.shape
        images = torch.from_numpy(frames).to(torch.float32).div_(255.0)
        if self._augment:
            images = self._relight(images)
        images = images.mul_(2.0).sub_(1.0).permute(0, 1, 3, 4, 2, 5)
        # Channels last already: the encoder's convolutions are several times faster on it.
        flat = images.reshape(batch * cameras, height, width, history * 3).permute(0, 3, 1, 2)
        return flat.reshape(batch, cameras, history * 3, height, width)

    def _relight(self, images: Tensor) -> Tensor:
        """Scale and shift the light of each camera and colour a little, and add noise."""
        shape = (images.shape[0], images.shape[1], 1, 1, 1)
        gain = self._uniform(0.8, 1.2, (*shape, 1)) * self._uniform(0.93, 1.07, (*shape, 3))
        shift = self._uniform(-0.06, 0.06, (*shape, 1))
        return images.mul_(gain).add_(shift).add_(self._grain(images)).clamp_(0.0, 1.0)

    def _grain(self, images: Tensor) -> Tensor:
        """Return noise of the camera, a random piece of a fixed table: drawing it all is slow."""
        if self._table.numel() < 2 * images.numel():
            generator = torch.Generator().manual_seed(self._seed)
            self._table = _GRAIN * torch.randn(2 * images.numel(), generator=generator)
        start = int(self.rng.integers(0, self._table.numel() - images.numel()))
        return self._table[start : start + images.numel()].view(images.shape)

    def _uniform(self, low: float, high: float, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self.rng.uniform(low, high, shape).astype(np.float32))


def mirror(
    chosen: NDArray[np.int64],
    frames: NDArray[np.uint8],
    state: NDArray[np.float32],
    actions: NDArray[np.float32],
    target: NDArray[np.float32],
    spots: NDArray[np.float32],
) -> None:
    """Mirror some samples at the plane y = 0, in place.

    Arm, table and both cameras are their own mirror images there, so this is another true sample:
    y and the rotations about x and z change their sign, and the pictures their sides.

    Args:
        chosen: indices of the samples.
        frames: (B, N, n_obs, H, W, 3).
        state: (B, S) [m, rad], a pose with rx and rz in [0, 2 pi), perhaps with its motion behind.
        actions: (B, H, 7) absolute [m, rad, -], angles near the state's.
        target: (B, 6) position and velocity of the object [m, m/s].
        spots: (B, N, 2) its place in the pictures, from the left and the top in [0, 1].
    """
    frames[chosen] = frames[chosen][..., ::-1, :]
    relative = actions[chosen, :, :6] - state[chosen, None, :6]
    relative[..., _FLIPPED] *= -1.0
    for first in range(0, state.shape[1], 6):
        state[chosen[:, None], [first + column for column in _FLIPPED]] *= -1.0
    state[chosen[:, None], _TURNS] %= 2.0 * np.pi
    actions[chosen, :, :6] = state[chosen, None, :6] + relative
    target[chosen[:, None], [1, 4]] *= -1.0
    spots[chosen, :, 0] = 1.0 - spots[chosen, :, 0]
