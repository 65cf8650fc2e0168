"""What the scheduler asks of a policy, whatever is behind it.

A ``GuidedPolicy`` can also be guided by the previous chunk (real-time chunking). Policies that take
no guide, as the oracle, keep working under ``--seam rtc``: they are asked without one, and their
seams are switches.
"""

from __future__ import annotations

import inspect
from typing import Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.chunk import Chunk
from dvla.runtime.observation import Observation


class ChunkPolicy(Protocol):
    """Anything that turns an observation into a chunk: a bundle's network, an oracle, a replay."""

    @property
    def chunk_size(self) -> int:
        """H, the number of actions of a chunk."""

    @property
    def control_period_s(self) -> float:
        """T, the spacing of the actions [s]."""

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        """Return the chunk for an observation; ``noise`` or ``seed`` fixes a stochastic policy."""

    def reset(self) -> None:
        """Forget everything of the episode so far."""


class GuidedPolicy(ChunkPolicy, Protocol):
    """A policy whose sampling the previous chunk can guide."""

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
        *,
        prev_actions: NDArray[np.float32] | None = None,
        prev_weight: NDArray[np.float32] | None = None,
    ) -> Chunk:
        """Return the chunk for an observation, near the previous one where weights are high.

        Args:
            observation: what is seen.
            noise: fixes a stochastic policy.
            seed: does so too.
            prev_actions: (H, A) absolute [m, rad, -], the previous chunk at this chunk's instants.
            prev_weight: (H,) in [0, 1]: 1 keeps an action, 0 leaves it free.
        """


HISTORY_STEPS = (-2, 0)
"""What the published policy observes [control steps relative to now]."""


def history_of(policy: object) -> tuple[int, ...]:
    """Return which control steps a policy observes, oldest first: its ``history_steps``, if any."""
    steps: tuple[int, ...] = getattr(policy, "history_steps", HISTORY_STEPS)
    return steps


class WrappedPolicy:
    """A policy that is as another one says, but for what a class on top of it changes.

    Args:
        inner: the other one.
    """

    def __init__(self, inner: ChunkPolicy) -> None:
        self._inner = inner

    @property
    def inner(self) -> ChunkPolicy:
        """The other one."""
        return self._inner

    @property
    def chunk_size(self) -> int:
        """H, the number of actions of a chunk."""
        return self._inner.chunk_size

    @property
    def control_period_s(self) -> float:
        """T, the spacing of the actions [s]."""
        return self._inner.control_period_s

    @property
    def history_steps(self) -> tuple[int, ...]:
        """Observed control steps relative to now, oldest first."""
        return history_of(self._inner)

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        """Return the chunk for an observation."""
        return self._inner.predict(observation, noise, seed)

    def reset(self) -> None:
        """Forget everything of the episode so far."""
        self._inner.reset()


def takes_guide(policy: ChunkPolicy) -> TypeGuard[GuidedPolicy]:
    """Return whether a policy's ``predict`` has ``prev_actions`` and ``prev_weight``."""
    parameters = inspect.signature(policy.predict).parameters
    return {"prev_actions", "prev_weight"} <= parameters.keys()
