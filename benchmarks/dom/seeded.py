"""A network whose noise follows from the episode's seed, so that a seed gives the same episode."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.chunk import Chunk
from dvla.runtime.observation import Observation
from dvla.runtime.policy_api import GuidedPolicy


class SeededPolicy:
    """A ``GuidedPolicy`` that numbers its inferences and draws the noise of each from its number.

    Args:
        policy: what infers.
        seed: of the episode.
    """

    def __init__(self, policy: GuidedPolicy, seed: int) -> None:
        self._policy = policy
        self._seed = seed
        self._inferences = 0

    @property
    def chunk_size(self) -> int:
        """H, the number of actions of a chunk."""
        return self._policy.chunk_size

    @property
    def control_period_s(self) -> float:
        """T, the spacing of the actions [s]."""
        return self._policy.control_period_s

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
        *,
        prev_actions: NDArray[np.float32] | None = None,
        prev_weight: NDArray[np.float32] | None = None,
    ) -> Chunk:
        """Return the chunk for an observation; a given noise or seed goes before the episode's."""
        if noise is None and seed is None:
            words = np.random.SeedSequence((self._seed, self._inferences)).generate_state(1)
            seed = int(words[0])
        self._inferences += 1
        return self._policy.predict(
            observation, noise, seed, prev_actions=prev_actions, prev_weight=prev_weight
        )

    def reset(self) -> None:
        """Forget the episode so far, but for the number of the inference."""
        self._policy.reset()
