"""How a child process of a run begins, reports and ends.

A child reads its settings from standard input, ties its life to the supervisor's, says ``ready``
(or why it cannot be) through a pipe, and then turns its loop until it is told to stop.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from dvla.engines.errors import DvlaError
from dvla.runtime.clock import monotonic_ns
from dvla.runtime.phase import Phase
from dvla.runtime.processes.heartbeat import HeartbeatBoard
from dvla.runtime.processes.settings import Settings
from dvla.runtime.processes.table import PROCESSES, ProcessSpec
from dvla.runtime.realtime import RealtimeReport, enter_realtime

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15


class StartReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a child says once through its pipe: ready, or the error that stops it."""

    ok: bool
    text: str = ""
    exit_code: int = 0


class Child:
    """The life of one child process.

    Args:
        name: its name in the table of processes.
        settings: of the run.
        ready_fd: where the start report goes.
    """

    def __init__(self, name: str, settings: Settings, ready_fd: int) -> None:
        self.spec: ProcessSpec = PROCESSES[name]
        self.settings = settings
        self.stopping = False
        self._ready_fd = ready_fd
        rows = settings.rings.heartbeat_rows
        self._board = HeartbeatBoard(settings.rings.heartbeat, len(rows))
        self._row = rows[name]

    def ready(self, text: str = "") -> None:
        """Tell the supervisor that the loop begins; from here on beats are expected."""
        gc.collect()
        gc.freeze()
        self.beat(monotonic_ns())
        self._report(StartReport(ok=True, text=text))

    def fail(self, text: str, exit_code: int) -> None:
        """Tell the supervisor that the loop cannot begin, or cannot go on."""
        self._report(StartReport(ok=False, text=text, exit_code=exit_code))

    def beat(self, now_ns: int) -> None:
        """Say that a turn of the loop has ended."""
        self._board.beat(self._row, now_ns)

    @property
    def phase(self) -> Phase:
        """What the processes of the run may do now."""
        return self._board.phase

    def enter_realtime(self, cpus: tuple[int, ...] = ()) -> RealtimeReport:
        """Ask for what the table says; call it after the set-up and before the loop."""
        if self.spec.nice:
            os.nice(self.spec.nice)
        return enter_realtime(priority=self.spec.realtime_priority, cpus=cpus)

    def _report(self, report: StartReport) -> None:
        try:
            os.write(self._ready_fd, msgspec.json.encode(report) + b"\n")
        except OSError:  # the supervisor is gone; the death signal is on its way
            self.stopping = True


def _tie_to_supervisor(spec: ProcessSpec, supervisor_pid: int) -> None:
    """Get a signal when the supervisor dies, also if it died before this call."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, int(spec.death_signal), 0, 0, 0)
    libc.prctl(PR_SET_NAME, f"dvla-{spec.name}".encode(), 0, 0, 0)
    if os.getppid() != supervisor_pid:
        sys.exit(0)


def run_child(name: str, body: Callable[[Child], None]) -> None:
    """Be the process ``name``: read the settings, run ``body``, report how it ended."""
    told = sys.stdin.buffer.read()
    if not told:  # the supervisor ended before it was this process's turn
        sys.exit(0)
    settings = msgspec.json.decode(told, type=Settings)
    child = Child(name, settings, ready_fd=int(sys.argv[1]))
    _tie_to_supervisor(child.spec, settings.supervisor_pid)

    def stop(signum: int, frame: Any) -> None:
        child.stopping = True

    # Ctrl-C and a closed terminal reach the whole group; what they mean, the supervisor decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)
    try:
        body(child)
    except DvlaError as error:
        child.fail(str(error), error.exit_code)
        sys.exit(error.exit_code)
    except Exception as error:
        child.fail(f"{name} failed: {type(error).__name__}: {error}", 1)
        traceback.print_exc()  # may fail itself, where nobody reads it any more
        sys.exit(1)
