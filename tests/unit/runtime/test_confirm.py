"""Typed confirmation: the name, or nothing moves."""

from __future__ import annotations

import io
import os
import pty
import sys
from collections.abc import Iterator

import pytest

from dvla.runtime.confirm import NotConfirmed, confirm_arm


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    master, slave = pty.openpty()
    with os.fdopen(slave) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield master
    os.close(master)


def test_the_name_confirms(terminal: int, capsys: pytest.CaptureFixture[str]) -> None:
    os.write(terminal, b"left-arm\n")
    confirm_arm("left-arm", "It will move.", yes=False)
    assert "It will move." in capsys.readouterr().out


@pytest.mark.parametrize("typed", [b"yes\n", b"\n", b"left-arm2\n", b"\x04"])
def test_anything_else_does_not(terminal: int, typed: bytes) -> None:
    os.write(terminal, typed)
    with pytest.raises(NotConfirmed, match="nothing moves"):
        confirm_arm("left-arm", "It will move.", yes=False)


def test_a_wait_that_is_given_up_confirms_nothing(terminal: int) -> None:
    with pytest.raises(NotConfirmed):
        confirm_arm("left-arm", "It will move.", yes=False, wanted=lambda: False)


def test_nobody_to_ask_is_a_refusal_and_a_script_may_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("left-arm\n"))
    with pytest.raises(NotConfirmed, match="--yes"):
        confirm_arm("left-arm", "It will move.", yes=False)
    confirm_arm("left-arm", "It will move.", yes=True)
