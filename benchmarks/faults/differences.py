"""Divided differences of a path that was sampled at uneven times.

Those of a path that is within its bounds are within them too, whatever the spacing of the samples
(mean value theorem): every one that is over a bound is a fault of whoever commanded the path.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
MIN_SPACING_NS = 2_000_000
"""Turns that follow a late one come closer together than differences can bear."""


def spaced(t_ns: NDArray[Any]) -> NDArray[np.int64]:
    """Return the indices of samples that are far enough apart."""
    chosen = [0] if len(t_ns) else []
    for index in range(1, len(t_ns)):
        if t_ns[index] - t_ns[chosen[-1]] >= MIN_SPACING_NS:
            chosen.append(index)
    return np.array(chosen, np.int64)


def differences(t_ns: NDArray[Any], path: Float64, orders: int = 2) -> list[Float64]:
    """Return the first derivatives of a path (n, k), as its divided differences have them."""
    chosen = spaced(t_ns)
    at_s, change = (t_ns[chosen] - t_ns[:1]) / 1e9, path[chosen]
    found = []
    for order in range(1, orders + 1):
        if len(change) < 2:
            found.append(np.zeros((0, path.shape[1])))
            continue
        change = order * np.diff(change, axis=0) / (at_s[order:] - at_s[:-order])[:, None]
        found.append(change)
    return found


def count_over(share: Float64, tolerance: float) -> tuple[int, float]:
    """Return how many shares of a bound are over it, and the largest; NaN is over every bound."""
    over = int((~(share <= tolerance)).sum())
    return over, float(np.nan_to_num(share, nan=np.inf).max(initial=0.0))
