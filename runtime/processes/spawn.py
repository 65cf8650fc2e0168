"""Start the processes of a run: fresh interpreters, inherited file descriptors, no forked state."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from dvla.engines.errors import DvlaError
from dvla.runtime.errors import ProcessDied
from dvla.runtime.processes.child import StartReport
from dvla.runtime.processes.settings import Rings, Settings
from dvla.runtime.processes.table import ProcessSpec

WAIT_STEP_S = 0.1


class StartFailed(DvlaError):
    """A process said why it cannot start; the message is its own."""

    def __init__(self, text: str, exit_code: int) -> None:
        Exception.__init__(self, text)
        self.exit_code = exit_code


def inherited_fds(rings: Rings) -> list[int]:
    """Return every descriptor that the children inherit."""
    single = [rings.heartbeat, rings.stream, rings.snapshot, rings.servo_ticks, rings.status]
    return [*single, rings.arm_calls, rings.clock, *rings.frames.values()]


class Launched:
    """One started process and the pipe on which it reports that it is ready.

    It loads its modules at once, and waits with everything else until it is told its settings.

    Args:
        spec: its row of the table.
        rings: that it inherits.
    """

    def __init__(self, spec: ProcessSpec, rings: Rings) -> None:
        self.spec = spec
        self._ready_r, ready_w = os.pipe()
        # Ctrl-C and a closed terminal reach the whole group, also those that cannot ignore it yet.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"dvla.runtime.processes.{spec.name}", str(ready_w)],
                stdin=subprocess.PIPE,
                pass_fds=[*inherited_fds(rings), ready_w],
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(ready_w)
        self._report = b""

    def tell(self, settings: Settings) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(msgspec.json.encode(settings))
            self.process.stdin.close()
        except BrokenPipeError:  # it died at once; wait_ready says so
            pass

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def wait_ready(self, timeout_s: float, wanted: Callable[[], bool]) -> str:
        """Wait for the start report and return its text.

        Args:
            timeout_s: how long to wait.
            wanted: asked now and then; when it says no, the wait ends with an empty text.

        Raises:
            StartFailed: the process said why it cannot start.
            ProcessDied: it ended, or said nothing in time.
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._report:
            if not wanted():
                return ""
            if time.monotonic() > deadline:
                raise ProcessDied(f"process {self.spec.name} was not ready in {timeout_s:.0f} s")
            if not select.select([self._ready_r], [], [], WAIT_STEP_S)[0]:
                continue
            part = os.read(self._ready_r, 65536)
            if not part:
                code = self.process.wait()
                raise ProcessDied(f"process {self.spec.name} ended at its start ({how(code)})")
            self._report += part
        line, self._report = self._report.split(b"\n", 1)
        report = msgspec.json.decode(line, type=StartReport)
        if not report.ok:
            raise StartFailed(report.text, report.exit_code)
        return report.text

    def last_words(self) -> str:
        """Return what the process reported when it failed after its start, or nothing."""
        if select.select([self._ready_r], [], [], 0)[0]:
            self._report += os.read(self._ready_r, 65536)
        lines = [line for line in self._report.split(b"\n") if line]
        return msgspec.json.decode(lines[-1], type=StartReport).text if lines else ""

    def terminate(self) -> None:
        """Ask it to end in order."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def end(self, timeout_s: float) -> None:
        """Wait for its end, then make sure of it."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self._ready_r >= 0:
            os.close(self._ready_r)
            self._ready_r = -1


def how(returncode: int) -> str:
    """Say in words how a process ended."""
    if returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"exit code {returncode}"
