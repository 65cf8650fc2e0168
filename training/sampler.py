"""Batches of recorded steps: an observation, the expert's chunk, the true object; augmented."""

from __future__ import annotations

import json
import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dvla.export.torch_ import Tensor, torch
from dvla.runtime.tokenizer import PromptEncoder
from dvla.runtime.twin.scenes.forms import COLOURS, FORMS, MORE_COLOURS, MORE_FORMS
from dvla.training.collect.frames import HORIZON
from dvla.training.dataset import Episodes
from dvla.training.flow_loss import Batch

DECISIVE_SHARE = 0.25
"""Of a training batch, drawn among the steps whose chunk opens or closes the fingers: they are few,
and a policy that misses them catches nothing."""
APPROACH_SHARE = 0.4
"""Of a training batch, drawn among the steps on the way to the object, where it must be seen from
afar; most steps of an episode come after it is in hand."""
RENAMED_SHARE = 0.5
"""Of the words for what is drawn for training alone, replaced by invented ones: so a word that
nobody taught means what none of the other words means."""
_GRAIN = 0.01
_SIDES = re.compile(r"left|right")
_RENAMED = re.compile(rf"\b({'|'.join((*MORE_COLOURS, *MORE_FORMS))})\b")
_VOWELS, _CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwxyz"
_PROMPTS = 1 << 16
"""Instructions whose tokens are kept."""
_FLIPPED, _TURNS = [1, 3, 5], [3, 5]


class Sampler:
    """Draws batches.

    Args:
        episodes: to draw from.
        encoder: of the instructions.
        seed: of the draws.
        augment: change light and colour, the same in both frames of a camera, mirror half of
            the samples of our twins (an instruction that names a side names the other then), and
            draw more often what is decisive and what leads to the object; and give some things
            of our twins invented names.
    """

    def __init__(
        self, episodes: Episodes, encoder: PromptEncoder, seed: int, *, augment: bool
    ) -> None:
        self._episodes, self._augment = episodes, augment
        self._seed = seed
        self._table = torch.empty(0)
        self.rng = np.random.default_rng(seed)
        self._encode = lru_cache(_PROMPTS)(encoder.encode)

    def batch(self, size: int) -> Batch:
        """Draw a batch."""
        indices = self._episodes.steps.draw(self.rng, size)
        if self._augment:
            at = 0
            for pool, share in (
                (self._episodes.decisive, DECISIVE_SHARE),
                (self._episodes.approach, APPROACH_SHARE),
            ):
                drawn = pool.draw(self.rng, round(share * size))
                indices[at : at + len(drawn)] = drawn
                at += len(drawn)
        now, frames, state, infos = self._episodes.rows(indices)
        texts = [info.instruction for info in infos]
        target = now["object"].copy()
        actions, spots = now["actions"][:, :HORIZON].copy(), self._episodes.spots(indices)
        container = self._episodes.containers(indices)
        if self._augment:
            # Cameras of others than our twins need not stand in the middle.
            allowed = np.array([bool(info.robot) for info in infos])
            chosen = np.flatnonzero((self.rng.random(size) < 0.5) & allowed)
            mirror(chosen, frames, state, actions, target, spots, container)
            for index in chosen:
                texts[index] = mirrored_words(texts[index])
            for index in np.flatnonzero(allowed):
                texts[index] = renamed(texts[index], self.rng)
        prompts = [self._encode(text) for text in texts]
        # In steps of eight, so that few shapes are compiled.
        longest = -(-max(int(prompt.token_mask.sum()) for prompt in prompts) // 8) * 8
        return Batch(
            images=self._images(frames),
            token_ids=torch.from_numpy(np.stack([p.token_ids for p in prompts])[:, :longest]),
            token_mask=torch.from_numpy(np.stack([p.token_mask for p in prompts])[:, :longest]),
            state=torch.from_numpy(state),
            actions=torch.from_numpy(actions),
            object_state=torch.from_numpy(target),
            spots=torch.from_numpy(spots),
            container=torch.from_numpy(container),
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


def mirrored_words(instruction: str) -> str:
    """Return an instruction with its sides exchanged."""
    return _SIDES.sub(lambda side: "right" if side[0] == "left" else "left", instruction)


def renamed(instruction: str, rng: np.random.Generator) -> str:
    """Return an instruction with some of the words that may be renamed replaced by invented ones.

    A word that occurs twice keeps one name.
    """
    names = {
        word: _invented(rng)
        for word in dict.fromkeys(_RENAMED.findall(instruction))
        if rng.random() < RENAMED_SHARE
    }
    return _RENAMED.sub(lambda found: names.get(found[0], found[0]), instruction)


def _invented(rng: np.random.Generator) -> str:
    """Return a word of one or two syllables that names no colour and no form."""
    while True:
        word = "".join(
            letters[int(rng.integers(len(letters)))]
            for _ in range(int(rng.integers(1, 3)))
            for letters in (_CONSONANTS, _VOWELS, _CONSONANTS)
        )
        if word not in COLOURS and word not in FORMS:
            return word


def mirror(
    chosen: NDArray[np.int64],
    frames: NDArray[np.uint8],
    state: NDArray[np.float32],
    actions: NDArray[np.float32],
    target: NDArray[np.float32],
    spots: NDArray[np.float32],
    container: NDArray[np.float32],
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
        spots: (B, N, n_obs, 2) its place in the pictures, from the left and the top in [0, 1].
        container: (B, 2) where the container stands [m].
    """
    frames[chosen] = frames[chosen][..., ::-1, :]
    relative = actions[chosen, :, :6] - state[chosen, None, :6]
    relative[..., _FLIPPED] *= -1.0
    for first in range(0, state.shape[1], 6):
        state[chosen[:, None], [first + column for column in _FLIPPED]] *= -1.0
    state[chosen[:, None], _TURNS] %= 2.0 * np.pi
    actions[chosen, :, :6] = state[chosen, None, :6] + relative
    target[chosen[:, None], [1, 4]] *= -1.0
    spots[chosen, ..., 0] = 1.0 - spots[chosen, ..., 0]
    container[chosen, 1] *= -1.0
