"""The pacer: its grid, skipped deadlines and lateness statistics. No test asserts real time."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from twins.allocations import assert_allocation_free
from twins.clock import ClockTwin

from dvla.bindings import ServoClock

PERIOD_NS = 500_000


def test_serves_whole_periods_and_never_wakes_early():
    clock = ServoClock(PERIOD_NS)
    woken_ns = clock.wait()
    first_ns = clock.deadline_ns
    for _ in range(50):
        assert woken_ns >= clock.deadline_ns
        assert clock.lateness_ns == woken_ns - clock.deadline_ns
        before_ns = clock.deadline_ns
        woken_ns = clock.wait()
        assert clock.deadline_ns > before_ns
        assert (clock.deadline_ns - first_ns) % PERIOD_NS == 0
    assert clock.ticks == 51
    assert clock.deadline_ns == first_ns + (50 + clock.overruns) * PERIOD_NS


def test_skips_what_has_passed_and_counts_it():
    clock = ServoClock(PERIOD_NS)
    clock.wait()
    before_ns = clock.deadline_ns
    clock.reset_statistics()
    time.sleep(5 * PERIOD_NS * 1e-9)
    called_ns = time.monotonic_ns()
    clock.wait()
    assert clock.overruns >= 4
    assert clock.deadline_ns == before_ns + (1 + clock.overruns) * PERIOD_NS
    assert clock.deadline_ns >= called_ns
    assert clock.ticks == 1


def test_agrees_with_its_twin_on_overruns_and_lateness():
    clock, twin = ServoClock(PERIOD_NS), ClockTwin(PERIOD_NS)
    for pause in (0, 0, 3, 0, 7, 1, 0):
        time.sleep(pause * PERIOD_NS * 1e-9)
        called_ns = time.monotonic_ns()
        woken_ns = clock.wait()
        if not twin.deadline_ns:
            twin.deadline_ns = clock.deadline_ns - PERIOD_NS
        # The clock reads the time a moment after the call; a deadline in that gap may be skipped.
        twin.wait(called_ns, woken_ns)
        if twin.deadline_ns < clock.deadline_ns:
            twin.overruns += (clock.deadline_ns - twin.deadline_ns) // PERIOD_NS
            twin.deadline_ns = clock.deadline_ns
            twin.lateness_ns[-1] = woken_ns - clock.deadline_ns
        assert twin.deadline_ns == clock.deadline_ns
        assert twin.overruns == clock.overruns
        assert twin.lateness_ns[-1] == clock.lateness_ns


def test_histogram_and_percentiles_bound_the_true_lateness():
    clock = ServoClock(100_000)
    lateness_ns = []
    for _ in range(300):
        clock.wait()
        lateness_ns.append(clock.lateness_ns)
    edges = clock.histogram_edges_ns
    assert edges[0] == 0
    assert (np.diff(edges) > 0).all()
    assert len(clock.histogram) == len(edges) - 1
    expected, _ = np.histogram(lateness_ns, edges)
    np.testing.assert_array_equal(clock.histogram, expected)
    for percent in (0, 1, 50, 95, 99, 100):
        true_ns = sorted(lateness_ns)[max(math.ceil(percent / 100 * 300), 1) - 1]
        bound_ns = clock.lateness_percentile_ns(percent)
        assert true_ns <= bound_ns <= max(true_ns * 1.2, 1000)
    assert clock.lateness_percentile_ns(100) == max(lateness_ns)
    clock.reset_statistics()
    assert clock.ticks == clock.overruns == clock.lateness_percentile_ns(99) == 0
    assert not clock.histogram.any()


def test_handed_out_arrays_are_read_only_copies():
    clock = ServoClock(PERIOD_NS)
    counts = clock.histogram
    clock.wait()
    assert not counts.any()
    with pytest.raises(ValueError, match="read-only"):
        counts[0] = 1


def test_waiting_allocates_nothing():
    assert_allocation_free(ServoClock(10_000).wait)


@pytest.mark.parametrize("period_ns", [0, -1, 999, 61_000_000_000])
def test_refuses_a_period_out_of_bounds(period_ns):
    with pytest.raises(ValueError, match="period_ns"):
        ServoClock(period_ns)


@pytest.mark.parametrize("percent", [-1, 101, math.nan])
def test_refuses_a_percentile_out_of_bounds(percent):
    with pytest.raises(ValueError, match="percent"):
        ServoClock(PERIOD_NS).lateness_percentile_ns(percent)
