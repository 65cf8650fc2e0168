"""A failing law is shrunk without a trace function: with one, a time-out could end the run."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st


def test_a_failing_law_is_shrunk_without_a_trace_function() -> None:
    """Else an alarm during a collection ends CPython 3.11: see the settings in conftest.py."""
    outside = sys.gettrace()
    seen: list[Any] = []

    @given(st.integers())
    @settings(database=None)
    def law(number: int) -> None:
        seen.append(sys.gettrace())
        assert number < 1000

    with pytest.raises(AssertionError):
        law()
    assert len(seen) > 10
    assert all(tracer is outside for tracer in seen)
    assert Phase.explain not in settings().phases  # from Python 3.12 on, it would not show
