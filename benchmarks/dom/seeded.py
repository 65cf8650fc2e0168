"""A network whose noise follows from the episode's seed, so that a seed gives the same episode."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.chunk import Chunk
from dvla.runtime.observation import Observation
from dvla.runtime.policy_api import ChunkPolicy, GuidedPolicy, WrappedPolicy, takes_guide


class SeededChunks(WrappedPolicy):
    """A policy that numbers its inferences and draws the seed of each from its number.

    A reset does not begin the numbers again.

    Args:
        policy: what infers.
        seed: of the episode.
    """

    def __init__(self, policy: ChunkPolicy, seed: int) -> None:
        super().__init__(policy)
        self._seed = seed
        self._inferences = 0

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        """Return the chunk for an observation; a given noise or seed goes before the episode's."""
        return super().predict(observation, noise, self._next_seed(noise, seed))

    def _next_seed(self, noise: NDArray[np.float32] | None, seed: int | None) -> int | None:
        if noise is None and seed is None:
            words = np.random.SeedSequence((self._seed, self._inferences)).generate_state(1)
            seed = int(words[0])
        self._inferences += 1
        return seed


class SeededPolicy(SeededChunks):
    """The same of a ``GuidedPolicy``, which it stays.

    Args:
        policy: what infers.
        seed: of the episode.
    """

    def __init__(self, policy: GuidedPolicy, seed: int) -> None:
        super().__init__(policy, seed)
        self._guided = policy

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
        return self._guided.predict(
            observation,
            noise,
            self._next_seed(noise, seed),
            prev_actions=prev_actions,
            prev_weight=prev_weight,
        )


def seeded(policy: ChunkPolicy, seed: int) -> ChunkPolicy:
    """Return a policy whose randomness follows from the episode's seed alone."""
    return SeededPolicy(policy, seed) if takes_guide(policy) else SeededChunks(policy, seed)
