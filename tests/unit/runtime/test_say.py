"""Who reads nothing any more: lines, panel and the end of a run go on without."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from synthetic_run import H, make_run

from dvla.runtime.panel import LivePanel
from dvla.runtime.run import Run
from dvla.runtime.run_config import RunConfig
from dvla.runtime.run_end import report_run
from dvla.runtime.say import heard, say
from dvla.runtime.signals import Impatient, Signals
from dvla.runtime.status import StatusTracker

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Unread(io.StringIO):
    """A stream that nobody can be reached by.

    Args:
        number: of the error that the system answers with.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, text: str) -> int:
        raise OSError(self._number, os.strerror(self._number))

    def isatty(self) -> bool:
        return True


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO, errno.ENOSPC])
def test_a_line_that_cannot_be_told_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(sys, "stderr", Unread(number))
    say("a line")
    monkeypatch.setattr(sys, "stderr", None)
    say("a line")


def test_a_full_disk_is_not_a_reader_that_is_gone() -> None:
    full, gone = Unread(errno.ENOSPC), Unread(errno.EPIPE)
    with heard(gone):
        gone.write("x")
    with pytest.raises(OSError, match="No space"), heard(full):
        full.write("x")


def test_a_closed_pipe_leaves_the_exit_code_alone() -> None:
    code = (
        "from dvla.runtime.say import heard, say, settle; import logging, sys\n"
        "logging.basicConfig(stream=sys.stderr)\n"
        "sys.stdin.read(1)\n"
        "logging.warning('nobody reads it'); settle(); say('nor this')\n"
        "with heard(sys.stdout): print('nor this')\n"
        "print('nor this'); settle(); sys.exit(7)"
    )
    ours, theirs = os.pipe()
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.close(ours)
    program.communicate(b"x", timeout=60)
    assert program.returncode == 7


def test_a_panel_whose_terminal_is_gone_is_not_drawn_again() -> None:
    from rich.console import Console

    screen, status = Unread(errno.EIO), StatusTracker(H).snapshot(0)
    stdout, stderr = sys.stdout, sys.stderr
    panel = LivePanel("dvla-run", Console(file=screen, force_terminal=True, width=100))
    panel.update(status)
    panel.update(status)
    panel.close()
    assert (sys.stdout, sys.stderr) == (stdout, stderr), "they are still redirected"


def test_a_report_is_written_and_judged_also_where_nobody_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = make_run(tmp_path, 2.0, video=False), []

    def conclude(*_: Any) -> Any:
        asked.append(True)
        return SimpleNamespace(passed=False, findings=[])

    monkeypatch.setattr(sys, "stdout", Unread(errno.EPIPE))
    setup: Any = SimpleNamespace(conclude=conclude)
    for json in (False, True):
        assert not report_run(RunConfig(plain=True, json=json), folder, setup, {}, 0.0, {})
    assert len(asked) == 2 and folder.report.exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_are_a_wish_and_a_closed_terminal_is_never_impatient(
    handlers: None, number: signal.Signals
) -> None:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    signals = Signals()
    os.kill(os.getpid(), number)
    assert signals.received == number
    os.kill(os.getpid(), signal.SIGHUP)  # the shell and the kernel send one each
    with pytest.raises(Impatient):
        os.kill(os.getpid(), signal.SIGTERM)
    signals.ignore()
    for each in SIGNALS:
        os.kill(os.getpid(), each)
    assert signals.received == number


def test_under_nohup_a_closed_terminal_ends_nothing(handlers: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals = Signals()
    os.kill(os.getpid(), signal.SIGHUP)
    assert signals.received == 0


def test_an_error_that_nobody_foresaw_stops_the_run_in_order_and_is_told(
    tmp_path: Path,
) -> None:
    calls: list[str] = []

    def conduct() -> NoReturn:
        raise ZeroDivisionError("float division")

    def note(what: str) -> Any:
        return lambda *_, **__: calls.append(what)

    run: Any = SimpleNamespace(
        _record=note("record"), _record_again=lambda ending="": calls.append(f"again {ending}"),
        _supervisor=SimpleNamespace(start=note("start"), stop=lambda why, **_: calls.append(why)),
        _signals=SimpleNamespace(received=0, ignore=note("ignore")), _clock_in=note("clock"),
        _config=RunConfig(), _conduct=conduct, _report=note("report"), _viewer=None,
        _folder=SimpleNamespace(path=tmp_path),
    )  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        Run.main(run)
    told = "ZeroDivisionError: float division"
    assert calls == [
        "record", "start", "clock", "again ", told, "ignore", f"again {told}", "report",
    ]  # fmt: skip
