"""Count what a call leaves allocated."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable


def assert_allocation_free(call: Callable[[], object], times: int = 500) -> None:
    """Assert that repeated calls leave nothing behind and never hold more than a few views.

    Python objects of one call (an int, the views of its arguments) live as long as the call; that
    is the peak allowed. Growth is compared over many calls: bookkeeping of a few bytes is not one
    byte per call. Other threads of the process may allocate meanwhile, so that the least of three
    tries counts: what a call leaves behind is there in each.
    """
    for _ in range(times):
        call()
    tries = [_growth_and_peak(call, times) for _ in range(3)]
    assert min(growth for growth, _ in tries) < times, tries
    assert min(peak for _, peak in tries) < 4096, tries


def _growth_and_peak(call: Callable[[], object], times: int) -> tuple[int, int]:
    """Return what many calls left behind, and what was held at most [byte]."""
    gc.collect()
    tracemalloc.start()
    try:
        call()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(times):
            call()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before, peak - before
