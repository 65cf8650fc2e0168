"""Which steps are drawn: those of some episodes more often than those of others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Pool:
    """Steps to draw from.

    Args:
        indices: of the steps of each episode, among all steps.
        weights: how often a step of each episode is drawn, relative to those of the others.

    Attributes:
        indices: of all of them, in order.
    """

    def __init__(self, indices: Sequence[NDArray[np.int64]], weights: Sequence[float]) -> None:
        some = [(own, weight) for own, weight in zip(indices, weights, strict=True) if len(own)]
        self.indices = np.concatenate([own for own, _ in some] or [np.empty(0, np.int64)])
        self._weights = np.array([weight for _, weight in some])
        counts = np.array([len(own) for own, _ in some], np.int64)
        self._ends = np.cumsum(counts)
        self._mass = np.cumsum(counts * self._weights)

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.indices)

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Return the indices of some steps, with replacement; of none where there are none."""
        if not len(self):
            return np.empty(0, np.int64)
        at = rng.random(count) * self._mass[-1]
        episode = np.minimum(np.searchsorted(self._mass, at, side="right"), len(self._mass) - 1)
        before_end = np.ceil((self._mass[episode] - at) / self._weights[episode]).astype(np.int64)
        drawn: NDArray[np.int64] = self.indices[self._ends[episode] - np.maximum(before_end, 1)]
        return drawn
