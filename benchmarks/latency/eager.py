"""The reference peer: the fp32 torch model, eager, as a user of the checkpoint would run it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.fixtures import Case
from dvla.benchmarks.report.schema import DENOISE, END_TO_END, PREFIX, VISION, VISION_PREFIX
from dvla.export.checkpoint import build_policy, load_checkpoint
from dvla.export.model.policy import POSE_DIM
from dvla.export.steps import with_steps
from dvla.export.torch_ import torch
from dvla.runtime.policy import absolute_actions
from dvla.runtime.pose import state_input

NAME = "eager"


class EagerSubject:
    """The torch model of a checkpoint, prompts without padding.

    Args:
        checkpoint: in the official format.
        case: what every run computes.
        threads: of torch; they are set for this whole process.
        num_steps: Euler steps; the checkpoint's own when not given.
    """

    name = NAME
    is_peer = True
    precision = "fp32"

    def __init__(
        self, checkpoint: Path, case: Case, threads: int, num_steps: int | None = None
    ) -> None:
        self.threads = threads
        torch.set_num_threads(threads)
        self.model = build_policy(with_steps(load_checkpoint(checkpoint), num_steps))
        self._case = case
        self._delta_columns = POSE_DIM if self.model.config.use_delta_action else 0
        self.actions: NDArray[np.float32] | None = None

    @property
    def description(self) -> str:
        """Version, precision and what the threads do while they wait."""
        waiting = os.environ.get("OMP_WAIT_POLICY", "the default").lower()
        return f"torch {torch.__version__} eager on cpu, fp32, OMP_WAIT_POLICY {waiting}"

    def run(self) -> dict[str, float]:
        """Infer once; return seconds by part."""
        model, seen = self.model, self._case.observation
        started_s = time.perf_counter()
        with torch.inference_mode():
            frames = {key: torch.from_numpy(seen.images[key])[None] for key in seen.images}
            state = torch.from_numpy(state_input(seen.state, model.config.state_dim))[None, None]
            tokens = torch.tensor([seen.token_ids], dtype=torch.int64)
            images = model.embed_images(model.prepare_images(frames))
            vision_s = time.perf_counter()
            embedded, mask = model.embed_prefix(
                images, tokens, torch.ones_like(tokens, dtype=torch.bool), state
            )
            cache = model.prefix_cache(embedded, mask)
            prefix_s = time.perf_counter()
            noise = torch.from_numpy(self._case.noise)[None]
            padded = model.sample_actions(cache, mask, noise)
            denoise_s = time.perf_counter()
            actions = model.unnormalize_actions(padded)[0].numpy()
            self.actions = absolute_actions(actions, seen.state[-1], self._delta_columns)
        ended_s = time.perf_counter()
        return {
            VISION: vision_s - started_s,
            PREFIX: prefix_s - vision_s,
            VISION_PREFIX: prefix_s - started_s,
            DENOISE: denoise_s - prefix_s,
            END_TO_END: ended_s - started_s,
        }

    def close(self) -> None:
        """Free the model."""
        del self.model
