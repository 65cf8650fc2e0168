"""One run under observation: started as a user would, watched and hurt from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from dvla.engines.errors import DvlaError
from dvla.runtime.addresses import ArmAddresses
from dvla.runtime.messages import ArmState
from dvla.runtime.wire import StateStream

DOUBLES = "dvla.benchmarks.faults.doubles"
PROCESSES = ("recorder", "arm", "camera", "policy", "servo")
START_PATIENCE_S = 90.0
MOVES_M_S = 0.05
"""A fault is done to an arm that moves at least as fast [m/s]."""


class RunNeverFollowed(DvlaError):
    """A run of the campaign did not begin to move, so that no fault could be tried."""

    exit_code = 3


class WatchedRun:
    """A run of ``dvla-run`` on the twin in folders of its own.

    Args:
        folder: empty; takes the run folder, the private folder and the log.
        flags: of dvla-run besides the usual ones.
        doubles: process name -> module that stands in for it.
        env: variables for the doubles.
        out: where the run folder goes, when not into ``folder``.
    """

    def __init__(
        self,
        folder: Path,
        flags: tuple[str, ...] = (),
        *,
        doubles: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
        out: Path | None = None,
    ) -> None:
        self.out = out or folder / "runs"
        self.private = folder / "private"
        self.private.mkdir(mode=0o700)
        self.log = folder / "log.txt"
        swaps = [f"{name}={DOUBLES}.{module}" for name, module in (doubles or {}).items()]
        module = f"{DOUBLES}.run" if swaps else "dvla.runtime.cli.run"
        command = [sys.executable, "-m", module]
        for swap in swaps:
            command += ["--double", swap]
        command += ["--robot", "franka", "--sim", "--policy", "oracle", "--duration", "0"]
        command += ["--inject-latency-ms", "100", "--plain", "--out", str(self.out), *flags]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "XDG_RUNTIME_DIR": str(self.private), **(env or {})},
            )
        place = self.private / "dvla" / "franka"
        self.addresses = ArmAddresses(
            name="franka",
            folder=str(place),
            curve=None,
            **{p: f"ipc://{place / p}" for p in ("commands", "state", "control", "events")},
        )
        self._states = StateStream(self.addresses)
        self.states: list[ArmState] = []

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

    def watch(self) -> None:
        """Take the states that have come."""
        self.states += self._states.drain()

    def until_following(self, moving_s: float) -> None:
        """Wait until the arm has followed the policy for a while.

        Raises:
            RunNeverFollowed: it does not.
        """
        deadline = time.monotonic() + START_PATIENCE_S
        since = 0.0
        while time.monotonic() < deadline and not self.ended:
            self.watch()
            following = bool(self.states) and self.states[-1].mode == "follow"
            # The lease alone makes the arm follow; only then does the policy begin.
            moves = following and any(abs(v) > MOVES_M_S for v in self.states[-1].twist[:3])
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
        end = time.monotonic() + 3.0
        while True:
            files = [path.name for path in self.private.rglob("*") if not path.is_dir()]
            living = [name for name, pid in self.pids.items() if alive(pid)]
            if not (files or living) or time.monotonic() > end:
                return files + living
            time.sleep(0.05)

    def folder(self) -> Path | None:
        """Return the run folder."""
        made = (
            sorted(path for path in self.out.iterdir() if path.is_dir())
            if self.out.exists()
            else []
        )
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
