"""Fixtures of all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# How long an example takes is the machine's business.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture
def control_c() -> Iterator[None]:
    """Let children of this test hear SIGINT, which a shell's background jobs ignore, and theirs.

    What is handled here is the default in a program that is started; what is ignored stays ignored.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
