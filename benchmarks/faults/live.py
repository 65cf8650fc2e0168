"""A run under observation: started as a user would, watched and hurt from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from dvla.benchmarks.faults.trace import TRACE, read_trace, speed
from dvla.engines.errors import DvlaError
from dvla.runtime.addresses import ArmAddresses
from dvla.runtime.messages import ArmState
from dvla.runtime.wire import StateStream

DOUBLES = "dvla.benchmarks.faults.doubles"
PROCESSES = ("recorder", "arm", "camera", "policy", "servo")
START_PATIENCE_S = 120.0
MOVES_M_S = 0.05
"""A fault is done to an arm that moves at least as fast [m/s]."""
RUN_FLAGS = (
    *("--robot", "franka", "--sim", "--policy", "oracle", "--duration", "0"),
    *("--inject-latency-ms", "100", "--plain"),
)


class RunNeverFollowed(DvlaError):
    """A run of the campaign did not begin to move, so that no fault could be tried."""

    exit_code = 3


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of the campaign is started with.

    Attributes:
        folder: empty; takes the run folder, the private folder, logs and the trace.
        doubles: process name -> module that stands in for it.
        env: variables for the doubles.
        out: where the run folder goes.
        flags: of dvla-run besides the usual ones.
    """

    folder: Path
    doubles: dict[str, str]
    env: dict[str, str]
    out: Path
    flags: tuple[str, ...] = ()

    @property
    def trace(self) -> Path:
        """Where the arm writes down what its twin is sent."""
        return self.folder / "trace"

    def command(self, name: str, *doubled: str) -> list[str]:
        """Return the arguments of ``python -m`` for a command whose processes have doubles."""
        swaps = [f"{process}={DOUBLES}.{self.doubles[process]}" for process in doubled]
        return [f"{DOUBLES}.run", name, *(word for swap in swaps for word in ("--double", swap))]


class WatchedRun:
    """A run of ``dvla-run`` on the twin in folders of its own.

    Args:
        plan: of the run.
    """

    clock_ahead_ns = 0
    """How far the arm's clock is ahead of ours."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.private = plan.folder / "private"
        self.private.mkdir(mode=0o700)
        self.log = plan.folder / "log.txt"
        self.process = self.start()

    def start(self) -> subprocess.Popen[Any]:
        """Start the run."""
        place = self.private / "dvla" / "franka"
        self.addresses = ArmAddresses(
            name="franka",
            folder=str(place),
            curve=None,
            **{p: f"ipc://{place / p}" for p in ("commands", "state", "control", "events")},
        )
        command = self.plan.command("run", *self.plan.doubles)
        with self.log.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, *self.flags],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    **self.plan.env,
                    "XDG_RUNTIME_DIR": str(self.private),
                    TRACE: str(self.plan.trace),
                },
            )
        self._states = StateStream(self.addresses)
        self.state: ArmState | None = None
        return process

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags of dvla-run."""
        return (*RUN_FLAGS, *self.plan.flags, "--out", str(self.plan.out))

    @property
    def text(self) -> str:
        """Everything that the run has printed."""
        return self.log.read_text()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, the supervisor's among them."""
        found = re.findall(r"^(\w+): pid (\d+)", self.text, re.MULTILINE)
        return {"supervisor": self.process.pid} | {name: int(pid) for name, pid in found}

    @property
    def ended(self) -> bool:
        """Whether the run's own process has ended."""
        return self.process.poll() is not None

    @property
    def mode(self) -> str:
        """What the arm's controller said of itself last: its mode, and why."""
        if self.state is None:
            return ""
        reason = f": {self.state.reason}" if self.state.reason else ""
        return f"{self.state.mode}{reason}"

    def watch(self) -> None:
        """Take the states that have come."""
        for state in self._states.drain():
            self.state = state

    def rows(self) -> NDArray[Any]:
        """Return everything that the twin was sent, on our clock."""
        rows = read_trace(self.plan.trace)
        rows["t_ns"] -= self.clock_ahead_ns
        return rows

    def until_following(self, moving_s: float) -> None:
        """Wait until the arm has followed the policy for a while.

        Raises:
            RunNeverFollowed: it does not.
        """
        deadline = time.monotonic() + START_PATIENCE_S
        since = 0.0
        while time.monotonic() < deadline and not self.ended:
            self.watch()
            # The lease alone makes the arm follow; only then does the policy begin.
            moves = self.mode.startswith("follow") and speed(self.plan.trace) > MOVES_M_S
            since = since or (time.monotonic() if moves else 0.0)
            if since and time.monotonic() - since > moving_s and moves:
                return
            time.sleep(0.02)
        raise RunNeverFollowed("a run of the campaign never moved its arm", got=self.text[-500:])

    def signal(self, name: str, number: int) -> None:
        """Send a signal to one process of the run."""
        os.kill(self.pids[name], number)

    def finish(self, patience_s: float) -> int:
        """End the run if it goes on; return its exit code."""
        for name in self.pids:
            if name != "supervisor" and alive(self.pids[name]):
                os.kill(self.pids[name], signal.SIGCONT)
        if not self.ended:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT)
        end = time.monotonic() + patience_s
        while not self.ended and time.monotonic() < end:
            self.watch()
            time.sleep(0.02)
        if not self.ended:
            self.process.kill()
        return self.process.wait()

    def left_behind(self) -> list[str]:
        """Return the files and processes that should be gone; the dying get a moment."""
        return self._left([self.private])

    def _left(self, folders: list[Path]) -> list[str]:
        end = time.monotonic() + 3.0
        while True:
            paths = [path for folder in folders for path in folder.rglob("*")]
            files = [path.name for path in paths if not path.is_dir()]
            living = [name for name, pid in self.pids.items() if alive(pid)]
            if not (files or living) or time.monotonic() > end:
                return files + living
            time.sleep(0.05)

    def folder(self) -> Path | None:
        """Return the run folder."""
        out = self.plan.out
        made = sorted(path for path in out.iterdir() if path.is_dir()) if out.exists() else []
        return made[-1] if made else None

    def close(self) -> None:
        """Leave nothing of it, whatever happened."""
        for name, pid in self.pids.items():
            if name != "supervisor" and alive(pid):
                os.kill(pid, signal.SIGKILL)
        if not self.ended:
            self.process.kill()
            self.process.wait()
        self._states.close()


def alive(pid: int) -> bool:
    """Return whether a process runs; zombies do not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"
