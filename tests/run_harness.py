"""Starts ``dvla-run`` as a user would and watches it from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
PATIENCE_S = 90.0
PROCESSES = ("recorder", "arm", "camera", "policy", "servo")


class LiveRun:
    """A run under way.

    Args:
        tmp_path: where its run folder and its arm's private folder go.
        flags: of dvla-run, besides the ones that every test needs.
        env: environment variables to add.
        robot: flags of the robot; the Franka's twin unless another is meant.
        doubles: process -> module of the tests' folder that stands in for it.
        output: descriptor that gets what it prints, instead of the log.
    """

    def __init__(
        self,
        tmp_path: Path,
        *flags: str,
        env: dict[str, str] | None = None,
        robot: tuple[str, ...] = ("--robot", "franka", "--sim"),
        doubles: Mapping[str, str] = MappingProxyType({}),
        output: int | None = None,
    ) -> None:
        self.runs = tmp_path / "runs"
        self.private = tmp_path / "private"
        self.private.mkdir(mode=0o700, exist_ok=True)
        self.log = tmp_path / f"log-{time.monotonic_ns()}.txt"
        module = ["dvla.runtime.cli.run"]
        if doubles:
            module = ["dvla.benchmarks.faults.doubles.run", "run"]
            env = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, TESTS))), **(env or {})}
        swaps = [word for each in doubles.items() for word in ("--double", "=".join(each))]
        command = [
            sys.executable, "-m", *module, *swaps,
            *robot, "--plain", "--out", str(self.runs), *flags,
        ]  # fmt: skip
        self.state = tmp_path / "state"
        folders = {"XDG_RUNTIME_DIR": str(self.private), "XDG_STATE_HOME": str(self.state)}
        self._env = {**os.environ, **folders, **(env or {})}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log if output is None else output,
                stderr=subprocess.STDOUT,
                env=self._env,
            )

    def arm(self, action: str, *flags: str) -> dict[str, object]:
        """Return what ``dvla-arm`` says of this run's arm."""
        done = subprocess.run(
            [sys.executable, "-m", "dvla.runtime.cli.arm", action, *flags, "--json"],
            cwd=ROOT,
            env=self._env,
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(json.loads(done.stdout))

    @property
    def text(self) -> str:
        """Everything it has printed."""
        return self.log.read_text()

    def until(self, pattern: str) -> re.Match[str]:
        """Wait until it has printed something."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            found = re.search(pattern, self.text)
            if found:
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        found = re.search(pattern, self.text)
        assert found, f"{pattern!r} did not come:\n{self.text}"
        return found

    def until_following(self) -> None:
        """Wait until the arm follows the policy."""
        self.until(r"scheduler=running arm=follow")

    def pids(self) -> dict[str, int]:
        """Return the process ids that it has announced."""
        found = re.findall(r"^(\w+): pid (\d+)", self.text, re.MULTILINE)
        return {name: int(pid) for name, pid in found}

    def end(self) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """Make sure that nothing of it outlives the test."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def folder(self) -> Path:
        """Return its run folder."""
        (folder,) = self.runs.iterdir()
        return folder

    def summary(self) -> dict[str, object]:
        """Return its summary."""
        return dict(json.loads((self.folder() / "summary.json").read_text()))

    def events(self, kind: str) -> list[dict[str, object]]:
        """Return its events of one kind; a full disk may have cut the last line."""
        lines = (self.folder() / "events.jsonl").read_text().split("\n")[:-1]
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def left_behind(self) -> list[str]:
        """Return sockets, locks and living processes that it should have taken with it."""
        files = [str(path) for path in self.private.rglob("*") if not path.is_dir()]
        living = [f"{name} {pid}" for name, pid in self.pids().items() if alive(pid)]
        return files + living


def free_address() -> str:
    """Return an address on this host where an arm controller can listen: five ports from it on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1] % 50000 + 10000
    return f"tcp://127.0.0.1:{port}"


def alive(pid: int) -> bool:
    """Return whether a process runs; zombies do not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"
