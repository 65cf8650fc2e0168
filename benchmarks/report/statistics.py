"""Ratios that know their noise: bootstrap intervals of medians, and the verdict they allow."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dvla.engines.errors import UsageError

RESAMPLES = 4000
CONFIDENCE = 0.95
MIN_SAMPLES = 8
"""Below this many samples a bootstrap of medians knows only a few values, and tells nothing."""
_CHUNK_ELEMENTS = 1 << 22

Verdict = Literal["faster", "slower", "no difference shown", "too few samples"]


class Comparison(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One subject against one peer.

    Attributes:
        subject: what is judged; ``peer`` is what it is judged by.
        quantity: what was measured of both, as ``end to end``.
        speedup: median of the peer over median of the subject; above 1 the subject is faster.
        low / high: 95 % interval of the speed-up.
        samples: of the side that has fewer.
        paired: both were measured in alternation, in one run.
        verdict: what the interval allows to say.
    """

    subject: str
    peer: str
    quantity: str
    speedup: float
    low: float
    high: float
    samples: int
    paired: bool
    verdict: Verdict


def compare_samples(
    subject: tuple[str, ArrayLike], peer: tuple[str, ArrayLike], quantity: str, *, paired: bool
) -> Comparison:
    """Compare two series of durations by their medians.

    Args:
        subject: name and durations (n,) in any unit; peer: the same of the other side, in the same
            unit. Paired series have one entry per round each.
        quantity: what was measured.
        paired: resample rounds, so that a drift which both sides share cancels.

    Raises:
        UsageError: a series is empty, holds a value that is no duration, or pairs do not match.
    """
    ours, theirs = _durations(*subject), _durations(*peer)
    if paired and len(ours) != len(theirs):
        raise UsageError(
            "Paired series have different lengths", got=f"{len(ours)} and {len(theirs)} rounds"
        )
    ratios = _bootstrap_ratios(theirs, ours, paired)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(ratios, [tail, 100 - tail])
    samples = min(len(ours), len(theirs))
    return Comparison(
        subject=subject[0],
        peer=peer[0],
        quantity=quantity,
        speedup=float(np.median(theirs) / np.median(ours)),
        low=float(low),
        high=float(high),
        samples=samples,
        paired=paired,
        verdict=verdict_of(float(low), float(high), samples),
    )


def verdict_of(low: float, high: float, samples: int) -> Verdict:
    """Return what an interval of a speed-up allows to say."""
    if samples < MIN_SAMPLES:
        return "too few samples"
    if low > 1.0:
        return "faster"
    return "slower" if high < 1.0 else "no difference shown"


def comparison_text(found: Comparison) -> str:
    """Return the comparison as a sentence."""
    range_text = f"{found.low:.3g} to {found.high:.3g}"
    how = "paired" if found.paired else "of separate runs"
    if found.verdict == "too few samples":
        return (
            f"{found.subject} against {found.peer}, {found.quantity}: too few samples to tell "
            f"({found.samples}, at least {MIN_SAMPLES} are needed)"
        )
    if found.verdict == "no difference shown":
        claim = f"no difference shown between {found.subject} and {found.peer}"
    else:
        claim = f"{found.subject} is {found.speedup:.3g} x as fast as {found.peer}"
    return f"{found.quantity}: {claim} (95 % interval {range_text}, {found.samples} samples, {how})"


def _durations(name: str, samples: ArrayLike) -> NDArray[np.float64]:
    """Return the samples as an array; refuse what no clock can have given."""
    values = np.asarray(samples, np.float64).ravel()
    if not len(values) or not np.isfinite(values).all() or (values <= 0).any():
        raise UsageError(
            f"The samples of {name} are not durations",
            got=f"{len(values)} values" if not len(values) else f"from {values.min()}",
            expected="at least one, all positive and finite",
        )
    return values


def _bootstrap_ratios(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64], paired: bool
) -> NDArray[np.float64]:
    """Return (RESAMPLES,) ratios of medians of resampled series; the seed is fixed."""
    rng = np.random.default_rng(0)
    longest = max(len(numerator), len(denominator))
    at_once = max(1, min(RESAMPLES, _CHUNK_ELEMENTS // longest))
    ratios: list[NDArray[np.float64]] = []
    for start in range(0, RESAMPLES, at_once):
        count = min(at_once, RESAMPLES - start)
        picks = rng.integers(0, len(numerator), (count, len(numerator)))
        others = picks if paired else rng.integers(0, len(denominator), (count, len(denominator)))
        ratios.append(np.median(numerator[picks], axis=1) / np.median(denominator[others], axis=1))
    return np.concatenate(ratios)
