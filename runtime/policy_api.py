"""What the scheduler asks of a policy, whatever is behind it."""

from __future__ import annotations

from typing import Protocol

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
