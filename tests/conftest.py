"""Fixtures of all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

# How long an example takes is the machine's business. Hypothesis explains a failure by a trace
# function; when a test's time is up while one is set, the alarm may raise inside it, out of a
# garbage collection: CPython 3.11 then calls what it has freed, and the whole run ends in a
# segmentation fault. Without that phase, shrinking is faster as well.
settings.register_profile(
    "house", deadline=None, phases=[phase for phase in Phase if phase is not Phase.explain]
)
settings.load_profile("house")


@pytest.fixture
def control_c() -> Iterator[None]:
    """Let children of this test hear SIGINT, which a shell's background jobs ignore, and theirs.

    What is handled here is the default in a program that is started; what is ignored stays ignored.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
