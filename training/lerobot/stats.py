"""Statistics of a dataset: per episode, and added up over episodes without looking again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stats = dict[str, NDArray[np.float64]]
_IMAGE_EVERY, _PIXEL_EVERY = 5, 4


def stats_of(values: NDArray[Any]) -> Stats:
    """Return the statistics of numbers (n, width), one per column."""
    numbers = np.asarray(values, np.float64)
    return {
        "min": numbers.min(axis=0),
        "max": numbers.max(axis=0),
        "mean": numbers.mean(axis=0),
        "std": numbers.std(axis=0),
        "count": np.array([len(numbers)], np.float64),
    }


class ImageStats:
    """Statistics of one camera's pictures, of some pixels of some frames, colours in [0, 1]."""

    def __init__(self) -> None:
        self._seen = 0
        self._kept: list[NDArray[np.uint8]] = []

    def add(self, image_hwc: NDArray[np.uint8]) -> None:
        """Look at a frame (h, w, 3)."""
        if self._seen % _IMAGE_EVERY == 0:
            self._kept.append(image_hwc[::_PIXEL_EVERY, ::_PIXEL_EVERY].copy())
        self._seen += 1

    def result(self) -> Stats:
        """Return the statistics, each (3, 1, 1) but for the number of frames."""
        pixels = np.stack(self._kept).reshape(-1, 3) / 255.0
        found = {name: value.reshape(-1, 1, 1) for name, value in stats_of(pixels).items()}
        return {**found, "count": np.array([len(self._kept)], np.float64)}


def added_up(parts: Sequence[Stats]) -> Stats:
    """Return the statistics of all parts together."""
    weights = np.array([part["count"][0] for part in parts])
    share = weights / weights.sum()
    means = np.stack([part["mean"] for part in parts])
    shape = (-1, *([1] * (means.ndim - 1)))
    mean = (share.reshape(shape) * means).sum(axis=0)
    spread = np.stack([part["std"] ** 2 for part in parts]) + (means - mean) ** 2
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt((share.reshape(shape) * spread).sum(axis=0)),
        "count": np.array([weights.sum()]),
    }


def plain(stats: Stats) -> dict[str, Any]:
    """Return statistics as lists, for JSON and parquet; the count as a whole number."""
    return {
        name: [int(value[0])] if name == "count" else value.tolist()
        for name, value in stats.items()
    }
