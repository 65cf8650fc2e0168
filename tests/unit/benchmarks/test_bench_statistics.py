"""Ratios, intervals and verdicts on samples with known answers."""

import numpy as np
import pytest

from dvla.benchmarks.report.statistics import (
    MIN_SAMPLES,
    compare_samples,
    comparison_text,
    verdict_of,
)
from dvla.engines.errors import UsageError


def noisy(middle, n, seed, spread=0.1):
    return middle * np.exp(spread * np.random.default_rng(seed).standard_normal(n))


def compare(subject, peer, paired=True):
    return compare_samples(("ours", subject), ("peer", peer), "end to end", paired=paired)


def test_a_constant_ratio_is_found_exactly():
    found = compare([2.0] * 10, [5.0] * 10)
    assert (found.speedup, found.low, found.high) == (2.5, 2.5, 2.5)
    assert found.verdict == "faster"
    assert compare([5.0] * 10, [2.0] * 10).verdict == "slower"
    assert compare([5.0] * 10, [5.0] * 10).verdict == "no difference shown"


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    # Two series of the same distribution: 95 % of the intervals must hold 1.
    held = sum(
        found.low <= 1.0 <= found.high
        for seed in range(100)
        for found in [compare(noisy(1.0, 30, 2 * seed), noisy(1.0, 30, 2 * seed + 1), False)]
    )
    assert 88 <= held <= 100
    # And a real factor of two is always seen.
    for seed in range(10):
        found = compare(noisy(1.0, 30, 2 * seed), noisy(2.0, 30, 2 * seed + 1), False)
        assert found.low < 2.0 < found.high * 1.1 and found.verdict == "faster"


def test_pairing_cancels_a_drift_that_both_sides_share():
    drift = np.linspace(1.0, 3.0, 40)
    ours, peer = 1.0 * drift, 1.05 * drift
    paired, separate = compare(ours, peer), compare(ours, peer, paired=False)
    assert paired.high - paired.low < 0.2 * (separate.high - separate.low)
    assert paired.verdict == "faster"
    assert separate.verdict == "no difference shown"


def test_too_few_samples_allow_no_verdict():
    found = compare([1.0] * (MIN_SAMPLES - 1), [9.0] * (MIN_SAMPLES - 1))
    assert found.verdict == "too few samples"
    assert "too few samples to tell" in comparison_text(found)
    assert verdict_of(2.0, 3.0, MIN_SAMPLES) == "faster"


def test_the_same_samples_give_the_same_interval():
    ours, peer = noisy(1.0, 25, 1), noisy(1.1, 25, 2)
    assert compare(ours, peer) == compare(ours, peer)


def test_swapping_the_sides_inverts_the_ratio():
    ours, peer = noisy(1.0, 25, 1), noisy(1.5, 25, 2)
    there, back = compare(ours, peer), compare(peer, ours)
    assert there.speedup == pytest.approx(1 / back.speedup)
    assert there.low == pytest.approx(1 / back.high, rel=0.01)


@pytest.mark.parametrize("bad", [[], [1.0, 0.0], [1.0, -1.0], [1.0, np.nan], [1.0, np.inf]])
def test_what_no_clock_gave_is_refused(bad):
    with pytest.raises(UsageError, match="not durations"):
        compare(bad, [1.0] * max(1, len(bad)))


def test_pairs_of_different_lengths_are_refused():
    with pytest.raises(UsageError, match="different lengths"):
        compare([1.0] * 9, [1.0] * 10)


def test_the_sentence_says_verdict_interval_and_pairing():
    text = comparison_text(compare([2.0] * 10, [5.0] * 10))
    assert "ours is 2.5 x as fast as peer" in text and "paired" in text and "10 samples" in text
    same = comparison_text(compare([5.0] * 10, [5.0] * 10, paired=False))
    assert "no difference shown between ours and peer" in same and "separate runs" in same
