"""Delays of a set-up, by correlation: command to motion, and motion to picture.

Two signals say how much moved in each interval; one of them is shifted until both rise and fall
together. Ranks are correlated, because picture change grows with motion, but not in proportion.
The uncertainty is the spread of the estimate over resampled stretches of the recording.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import DvlaError

Float64 = NDArray[np.float64]
MIN_DELAY_S, MAX_DELAY_S, STEP_S = -0.04, 0.4, 0.001
MIN_CORRELATION = 0.6
MAX_BOUND_S = 0.025
MIN_PATH_M = 0.05
MIN_STEADY = 0.25
IRREGULAR = 0.3
"""Intervals that differ by more from the usual one are gaps: what changed meanwhile says little of
when."""
MIN_INTERVALS = 60
STRETCH_S = 0.5
BLOCK = 4
RESAMPLES = 40
FLOOR_S = 0.003
"""No bound is smaller, nor smaller than half an interval: how pictures change is not how the arm
moves, and that error does not average out."""
RADIUS_M = 0.2
"""What a turn of one radian counts for, against a metre of path."""


class LatencyUnclear(DvlaError):
    """The recording does not tell the delay."""

    exit_code = 1


class Delay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A delay that was found.

    Attributes:
        delay_s: the later signal lags the earlier one by this.
        bound_s: with 95 % confidence the true one is no further away.
        correlation: of the ranks at that delay, at most 1.
        intervals: that were compared.
        steady: share of the recorded time that they are of; the rest was lost to gaps.
    """

    delay_s: float
    bound_s: float
    correlation: float
    intervals: int
    steady: float = 1.0


def path_m(setpoints: Float64) -> Float64:
    """Return the path travelled (n,) up to each setpoint (n, 8); turns count by ``RADIUS_M``."""
    moved = np.linalg.norm(np.diff(setpoints[:, :3], axis=0), axis=1)
    alike = np.abs(np.sum(setpoints[1:, 3:7] * setpoints[:-1, 3:7], axis=1)).clip(0.0, 1.0)
    turned = 2.0 * np.arccos(alike)
    return np.concatenate([[0.0], np.cumsum(moved + RADIUS_M * turned)])


def picture_change(images: Iterable[NDArray[np.uint8]]) -> Float64:
    """Return the mean change (n - 1,) from picture to picture, of grey pictures at a quarter.

    Blocks are averaged, not skipped: thin edges would flicker.
    """
    changes, before = [], None
    for image_hwc in images:
        height, width = (side - side % BLOCK for side in image_hwc.shape[:2])
        cut = image_hwc[:height, :width]
        blocks = cut.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3)
        grey = blocks.mean(axis=(1, 3, 4))
        if before is not None:
            changes.append(float(np.abs(grey - before).mean()))
        before = grey
    return np.array(changes)


def find_delay(
    what: str,
    source_t_s: Float64,
    source_path: Float64,
    edges_s: Float64,
    change: Float64,
    *,
    seed: int = 0,
) -> Delay:
    """Return how far the change in some intervals lags a path.

    Args:
        what: for errors.
        source_t_s: (n,) times of the path; source_path: (n,) travelled until then.
        edges_s: (k + 1,) ends of the intervals, on the same clock.
        change: (k,) what was seen to change in each; NaN where nobody looked.
        seed: of the resampling.

    Raises:
        LatencyUnclear: the recording is full of gaps, too little moved, or the correlation is poor,
            ambiguous or at the edge.
    """
    looked, steady = _regular(what, edges_s, change)
    begins_s, ends_s = edges_s[:-1], edges_s[1:]
    usable = (begins_s - MAX_DELAY_S >= source_t_s[0]) & (ends_s - MIN_DELAY_S <= source_t_s[-1])
    usable &= looked
    begins_s, ends_s, change = begins_s[usable], ends_s[usable], change[usable]
    if len(change) < MIN_INTERVALS:
        raise LatencyUnclear(
            f"the recording is too short to tell {what}",
            got=f"{len(change)} intervals that both signals cover",
            expected=f"at least {MIN_INTERVALS}",
            next_command="record a longer run in which the arm moves",
        )
    travelled = float(np.interp(ends_s[-1], source_t_s, source_path)) - float(
        np.interp(begins_s[0], source_t_s, source_path)
    )
    if travelled < MIN_PATH_M or np.ptp(change) <= 0.0:
        raise LatencyUnclear(
            f"too little moved to tell {what}",
            got=f"{travelled * 1e3:.0f} mm of path",
            expected=f"at least {MIN_PATH_M * 1e3:.0f} mm, and something that changes with it",
            next_command="record a run in which the arm moves back and forth",
        )
    delays_s = np.arange(MIN_DELAY_S, MAX_DELAY_S + STEP_S / 2, STEP_S)
    # Path lengths of every interval under every delay: (delays, k).
    moved = np.stack(
        [
            np.interp(ends_s - d, source_t_s, source_path)
            - np.interp(begins_s - d, source_t_s, source_path)
            for d in delays_s
        ]
    )
    ranks, target = _ranks(moved), _ranks(change[None])[0]
    everything = np.arange(len(change))
    scores = _scores(ranks, target, everything)
    best = int(np.argmax(scores))
    correlation = float(scores[best])
    if not correlation >= MIN_CORRELATION:
        raise LatencyUnclear(
            f"the correlation is too poor to tell {what}",
            got=f"{correlation:.2f} at best",
            expected=f"at least {MIN_CORRELATION}",
            next_command="record a run in which the arm starts and stops often, and little else "
            "moves in the picture",
        )
    if best in (0, len(delays_s) - 1):
        raise LatencyUnclear(
            f"{what} lies outside of what is looked for",
            got=f"{delays_s[best]:.3f} s at best",
            expected=f"between {MIN_DELAY_S:g} and {MAX_DELAY_S:g} s",
        )
    spread_s = _spread(delays_s, ranks, target, begins_s, np.random.default_rng(seed))
    half_s = 0.5 * float(np.median(ends_s - begins_s))
    bound_s = max(FLOOR_S, half_s, 2.0 * spread_s)
    if bound_s > MAX_BOUND_S:
        raise LatencyUnclear(
            f"the recording tells {what} too vaguely",
            got=f"{_peak(delays_s, scores):.3f} s, give or take {bound_s:.3f} s",
            expected=f"a bound of {MAX_BOUND_S:g} s",
            next_command="record a longer run in which the arm starts and stops often",
        )
    return Delay(
        delay_s=_peak(delays_s, scores),
        bound_s=bound_s,
        correlation=correlation,
        intervals=len(change),
        steady=steady,
    )


def _regular(what: str, edges_s: Float64, change: Float64) -> tuple[NDArray[np.bool_], float]:
    """Return which intervals (k,) are no gaps, and their share of the time.

    Raises:
        LatencyUnclear: gaps are most of it: whoever recorded was kept from looking.
    """
    lengths_s = np.diff(edges_s)
    looked = np.isfinite(change)
    if not looked.any():
        return looked, 0.0
    usual_s = float(np.median(lengths_s[looked]))
    looked &= np.abs(lengths_s - usual_s) <= IRREGULAR * usual_s
    steady = float(lengths_s[looked].sum() / lengths_s.sum())
    if steady < MIN_STEADY:
        raise LatencyUnclear(
            f"the host was too busy to tell {what}",
            got=f"{1.0 - steady:.0%} of the time in gaps between what was recorded every "
            f"{1e3 * usual_s:.0f} ms",
            expected=f"at most {1.0 - MIN_STEADY:.0%}",
            next_command="end other programs, or have fewer or smaller pictures, and record again",
        )
    return looked, steady


def _spread(
    delays_s: Float64,
    ranks: Float64,
    target: Float64,
    begins_s: Float64,
    random: np.random.Generator,
) -> float:
    """Return the spread of the delay over resampled stretches of the recording.

    It is taken from the median deviation: a draw that happens to tell nothing counts for one.
    """
    stretch = ((begins_s - begins_s[0]) / STRETCH_S).astype(np.int64)
    members = [np.flatnonzero(stretch == each) for each in np.unique(stretch)]
    found = []
    for _ in range(RESAMPLES):
        drawn = random.integers(0, len(members), len(members))
        picked = np.concatenate([members[each] for each in drawn])
        found.append(_peak(delays_s, _scores(ranks, target, picked)))
    return 1.48 * float(np.median(np.abs(np.array(found) - np.median(found))))


def _ranks(values: Float64) -> Float64:
    """Return the ranks along the last axis."""
    return np.argsort(np.argsort(values, axis=-1), axis=-1).astype(np.float64)


def _scores(ranks: Float64, target: Float64, picked: NDArray[np.int64]) -> Float64:
    """Return the correlation (delays,) of the picked intervals."""
    a, b = ranks[:, picked], target[picked]
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean()
    size = np.sqrt((a * a).sum(axis=1) * (b @ b))
    return np.asarray(np.divide(a @ b, size, out=np.zeros(len(a)), where=size > 0))


def _peak(delays_s: Float64, scores: Float64) -> float:
    """Return the delay of the highest score, by a parabola through its surroundings."""
    best = int(np.argmax(scores))
    reach = 15
    around = slice(max(0, best - reach), min(len(scores), best + reach + 1))
    bend, slope, _ = np.polyfit(delays_s[around] - delays_s[best], scores[around], 2)
    if bend >= 0.0:
        return float(delays_s[best])
    shift = float(np.clip(-slope / (2 * bend), -reach * STEP_S, reach * STEP_S))
    return float(delays_s[best]) + shift
