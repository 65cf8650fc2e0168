"""What the tests of the wire share: addresses of their own, and a context that must not leak."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from dvla.runtime.addresses import ArmAddresses


@pytest.fixture
def addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArmAddresses:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return ArmAddresses.local("test")


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    """A context whose end proves that no socket was leaked: it would wait for them for ever."""
    context = zmq.Context()
    yield context
    leaked = [s for s in context._sockets if not s.closed]
    context.destroy(linger=0)
    assert not leaked, "a socket was not closed"


@pytest.fixture
def opened(context: zmq.Context) -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack
