"""A checkpoint that moves the arm while it is being trained: at every episode its newest save."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dvla.engines.bundle import TOKENIZER_NAME
from dvla.engines.errors import CheckpointError
from dvla.export.checkpoint import load_policy
from dvla.export.checkpoint_io import WEIGHTS_NAME
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import Tensor, torch
from dvla.runtime.chunk import Chunk
from dvla.runtime.observation import Observation
from dvla.runtime.pose import state_input, unwrap_near
from dvla.runtime.tokenizer import PromptEncoder
from dvla.training.pictures import Pictures

_TRIES = 5


class CheckpointPolicy:
    """A ``GuidedPolicy`` of the checkpoint in a folder; a new save is taken in by ``reset``.

    It needs no export, so that rounds of collecting and training can overlap. It takes no guide.

    Args:
        folder: of the checkpoint, as ``dvla-train`` writes it.
    """

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self._folder, self._stamp_ns = folder, -1
        self.reset()

    def reset(self) -> None:
        """Take in the newest save."""
        stamp_ns = (self._folder / WEIGHTS_NAME).stat().st_mtime_ns
        if stamp_ns != self._stamp_ns:
            self._policy = self._load()
            self._stamp_ns = stamp_ns
            config, arch = self._policy.config, self._policy.arch
            self._pictures = Pictures.of(config, arch)
            self._encoder = PromptEncoder(
                self._folder / TOKENIZER_NAME, config.tokenizer_max_length, arch.vocab
            )

    def _load(self) -> DynamicVla:
        """Load the checkpoint; a save that is being replaced is tried again."""
        for _ in range(_TRIES - 1):
            try:
                return load_policy(self._folder)
            except CheckpointError:
                time.sleep(0.5)
        return load_policy(self._folder)

    @property
    def chunk_size(self) -> int:
        """H, the number of actions of a chunk."""
        return self._policy.config.chunk_size

    @property
    def control_period_s(self) -> float:
        """T, the spacing of the actions [s]."""
        return 0.04

    @property
    def history_steps(self) -> tuple[int, ...]:
        """Observed control steps relative to now, oldest first."""
        return self._policy.config.delta_timestamps.observation

    @property
    def robot_type(self) -> str:
        """The arm that it is trained for; empty where it does not say."""
        return self._policy.config.robot_type

    @property
    def camera(self) -> tuple[int, int]:
        """(H, W) [pixel] of the frames that it is best shown."""
        return self._pictures.camera

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
        *,
        prev_actions: NDArray[np.float32] | None = None,
        prev_weight: NDArray[np.float32] | None = None,
    ) -> Chunk:
        """Return the chunk for an observation; a guide changes nothing."""
        del prev_actions, prev_weight
        started_s, config = time.perf_counter(), self._policy.config
        if noise is None:
            shape = (config.chunk_size, config.max_action_dim)
            noise = np.random.default_rng(seed).standard_normal(shape, np.float32)
        prompt = self._encoder.encode(observation.instruction)
        used = int(prompt.token_mask.sum())
        state = torch.from_numpy(state_input(observation.state, config.state_dim))[None, None]
        with torch.inference_mode():
            tokens = self._policy.embed_images(self._images(observation))
            embedded, mask = self._policy.embed_prefix(
                tokens,
                torch.tensor(prompt.token_ids[None, :used]),
                torch.tensor(prompt.token_mask[None, :used]),
                state,
            )
            padded = self._policy.sample_actions(
                self._policy.prefix_cache(embedded, mask), mask, torch.from_numpy(noise)[None]
            )
            relative = self._policy.unnormalize_actions(padded)
            actions = self._policy.absolute_actions(relative, state)[0].numpy()
        actions[:, 3:6:2] = unwrap_near(actions[:, 3:6:2], observation.state[-1, 3:6:2])
        return Chunk(
            actions=actions,
            t_obs_ns=observation.t_obs_ns,
            inference_s=time.perf_counter() - started_s,
            control_period_s=self.control_period_s,
        )

    def _images(self, observation: Observation) -> Tensor:
        """Return the encoder's input (1, N, 3 n_obs, H, W), resized as for the recordings."""
        seen = self._pictures
        frames = np.stack(
            [
                [seen.prepare(frame, camera) for frame in observation.images[key]]
                for camera, key in enumerate(seen.keys)
            ]
        )
        images = torch.from_numpy(frames).to(torch.float32) / 127.5 - 1.0
        return images.movedim(-1, 2).flatten(1, 2)[None]
