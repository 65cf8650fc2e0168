"""Percentiles: how every timing of a run is told; never a mean alone."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import ArrayLike


class Percentiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """p50, p95, p99 and maximum of ``count`` samples, in the unit of the samples."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


def percentiles(samples: ArrayLike) -> Percentiles | None:
    """Return the percentiles of the finite samples, or None when there are none.

    Args:
        samples: (n,) in any unit.
    """
    values = np.asarray(samples, np.float64).ravel()
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    p50, p95, p99, top = np.percentile(values, [50, 95, 99, 100])
    return Percentiles(
        count=len(values), p50=float(p50), p95=float(p95), p99=float(p99), max=float(top)
    )


def scaled(value: Percentiles | None, factor: float) -> Percentiles | None:
    """Return the percentiles in another unit."""
    if value is None:
        return None
    return Percentiles(
        count=value.count,
        p50=value.p50 * factor,
        p95=value.p95 * factor,
        p99=value.p99 * factor,
        max=value.max * factor,
    )
