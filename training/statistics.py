"""Mean and deviation of what a policy takes and gives, gathered piece by piece."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray


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


class Moments:
    """Mean and deviation of rows that come in pieces.

    Args:
        width: numbers of a row.
    """

    def __init__(self, width: int) -> None:
        self._count = 0
        self._mean, self._squares = np.zeros(width), np.zeros(width)

    def add(self, rows: NDArray[np.floating]) -> None:
        """Take in rows (n, width), of which there may be none.

        Means and sums of squares about them are combined, not sums of squares, which would lose
        the deviation of numbers far from nothing (Chan et al., 1979).
        """
        if not len(rows):
            return
        mean = rows.mean(axis=0, dtype=np.float64)
        squares = np.square(rows - mean).sum(axis=0)
        count, apart = self._count + len(rows), mean - self._mean
        self._squares += squares + np.square(apart) * (self._count * len(rows) / count)
        self._mean += apart * (len(rows) / count)
        self._count = count

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of the rows; nothing of none."""
        return tuple(self._mean.tolist())

    def deviation(self, least: float) -> tuple[float, ...]:
        """Return their standard deviation, or the least where it is smaller."""
        deviation = np.sqrt(self._squares / max(1, self._count))
        return tuple(np.maximum(deviation, least).tolist())
