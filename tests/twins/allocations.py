"""Count what a call leaves allocated."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable


def assert_allocation_free(call: Callable[[], object], times: int = 500) -> None:
    """Assert that repeated calls leave nothing behind and never hold more than a few views.

    Python objects of one call (an int, the views of its arguments) live as long as the call; that
    is the peak allowed. Growth is compared over many calls: bookkeeping of a few bytes is not one
    byte per call.
    """
    for _ in range(times):
        call()
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
    assert after - before < times
    assert peak - before < 4096
