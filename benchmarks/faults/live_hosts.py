"""A run on one host and its arm on another, under observation: what happens on the cable."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from dvla.benchmarks.faults.hosts import ARM_IP, CLOCK_APART_S, Cable, Program, keys
from dvla.benchmarks.faults.live import WatchedRun, alive
from dvla.benchmarks.faults.trace import TRACE

ADDRESS = f"tcp://{ARM_IP}:5600"
CALM = (1.0, 0.3, 0.0)
"""Delay [ms], jitter [ms] and loss of the cable before the fault."""
_MODE = re.compile(r"^((?:idle|hold|follow|stopping|fault|shutdown)(?:: .*)?)$", re.MULTILINE)


class TwoHosts:
    """A control PC and a Jetson with a cable between them, and the keys of each other.

    Args:
        base: folder for the folders of both.
    """

    def __init__(self, base: Path) -> None:
        self.cable = Cable()
        self.pc, self.jetson = base / "pc", base / "jetson"
        keys(self.pc, "make", "--name", "arm")
        for name in ("jetson", "stranger"):
            keys(self.jetson, "make", "--name", name)
        there, here = (one / "config" / "dvla" / "keys" for one in (self.pc, self.jetson))
        keys(self.pc, "allow", "--name", "jetson", "--public", str(here / "jetson.public"))
        shutil.copy(there / "arm.public", here)

    def arm(self, command: list[str], env: dict[str, str] | None = None) -> Program:
        """Start a controller on the control PC, and wait until it listens."""
        flags = ("run", "--robot", "franka", "--sim", "--address", ADDRESS, "--keys", "arm")
        program = Program(
            self.pc, self.cable.arm, *command, *flags, other_clock=True, env=env
        )  # fmt: skip
        try:
            program.until("listening")
        except BaseException:
            program.process.kill()
            raise
        return program


class WatchedHosts(WatchedRun):
    """A run of ``dvla-run`` on the Jetson, whose arm is on the control PC.

    Args:
        plan: of the run.
    """

    clock_ahead_ns = CLOCK_APART_S * 1_000_000_000

    def start(self) -> subprocess.Popen[Any]:
        """Start the controller, then the run."""
        self.hosts = TwoHosts(self.plan.folder)
        self.cable = self.hosts.cable
        env = {**self.plan.env, TRACE: str(self.plan.trace)}
        try:
            self.arm = self.hosts.arm(self.plan.command("arm", "arm"), env)
        except BaseException:
            self.cable.close()
            raise
        self.cable.shape(*CALM)
        doubled = [process for process in self.plan.doubles if process != "arm"]
        where = ("--arm-address", ADDRESS, "--keys", "jetson")
        run = Program(
            self.hosts.jetson, self.cable.run, *self.plan.command("run", *doubled),
            *self.flags, *where, env=self.plan.env,
        )  # fmt: skip
        self.log = run.log
        return run.process

    @property
    def mode(self) -> str:
        """What the controller has printed last of its mode."""
        found = _MODE.findall(self.arm.text)
        return str(found[-1]) if found else ""

    def watch(self) -> None:
        """Nothing to take: the controller prints, and the trace is a file."""

    def ask(self, keys: str) -> Program:
        """Start ``dvla-arm state`` on the Jetson."""
        flags = ("state", "--address", ADDRESS, "--keys", keys)
        return Program(self.hosts.jetson, self.cable.run, "dvla.runtime.cli.arm", *flags)

    def finish(self, patience_s: float) -> int:
        """End the run, then its arm's controller; return the run's exit code."""
        code = super().finish(patience_s)
        end = time.monotonic() + 5.0
        while self.mode.startswith(("follow", "stopping")) and time.monotonic() < end:
            time.sleep(0.05)
        self.last_mode = self.mode
        if self.arm.process.poll() is None:
            self.arm.signal(signal.SIGTERM)
            self.arm.process.wait(patience_s)
        return code

    def left_behind(self) -> list[str]:
        """Return the files and processes that should be gone on either host."""
        left = self._left([host / "dvla" for host in (self.hosts.pc, self.hosts.jetson)])
        found = re.findall(r"^arm: pid (\d+)", self.arm.text, re.MULTILINE)
        return left + [f"arm {pid}" for pid in found if alive(int(pid))]

    def close(self) -> None:
        """Leave nothing of it, whatever happened."""
        if self.arm.process.poll() is None:
            self.arm.process.kill()
            self.arm.process.wait()
        for name, pid in self.pids.items():
            if name != "supervisor" and alive(pid):
                self.signal(name, signal.SIGKILL)
        if not self.ended:
            self.process.kill()
            self.process.wait()
        self.cable.close()
