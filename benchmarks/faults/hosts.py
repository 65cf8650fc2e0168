"""Two hosts on one machine: network namespaces with a cable between them, and clocks of their own.

The control PC gets a time namespace, so that its monotonic clock is hours from ours, and a boot id
of its own. Nothing in the programs knows of it.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from dvla.engines.errors import DvlaError

PATIENCE_S = 200.0
CLOCK_APART_S = 5000
ARM_IP, RUN_IP = "10.213.77.1", "10.213.77.2"
_numbers = itertools.count()


class NoNamespaces(DvlaError):
    """This host does not permit two hosts on one machine."""

    exit_code = 3


def ip(*words: str) -> None:
    """Run ``ip``."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class HostFailed(DvlaError):
    """A program on one of the hosts ended early, or went silent."""


class Cable:
    """Two network namespaces and a cable, which a process of its own carries packets along."""

    def __init__(self) -> None:
        tag = f"{os.getpid() % 100000}n{next(_numbers)}"
        self.arm, self.run = f"dvla-a{tag}", f"dvla-r{tag}"
        self._carrier: subprocess.Popen[str] | None = None
        try:
            for name in (self.arm, self.run):
                ip("netns", "add", name)
            self._carrier = subprocess.Popen(
                [sys.executable, "-m", "dvla.benchmarks.faults.cable", self.arm, self.run],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert self._carrier.stdout is not None
            if self._carrier.stdout.readline() != "ready\n":
                raise OSError("no TUN device")
            for name, address in ((self.arm, ARM_IP), (self.run, RUN_IP)):
                ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
                ip("-n", name, "link", "set", "cable", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            raise NoNamespaces(
                "network namespaces are not permitted here", got=error, expected="root"
            ) from error

    def shape(self, delay_ms: float, jitter_ms: float = 0.0, loss: float = 0.0) -> None:
        """Delay and lose packets, in both directions."""
        assert self._carrier is not None and self._carrier.stdin is not None
        self._carrier.stdin.write(f"{delay_ms} {jitter_ms} {loss}\n")
        self._carrier.stdin.flush()

    def cut(self) -> None:
        """Pull the cable out."""
        self.shape(0.0, loss=1.0)

    def close(self) -> None:
        """Remove both ends."""
        if self._carrier is not None:
            self._carrier.kill()
            self._carrier.communicate()
        for name in (self.arm, self.run):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


class Program:
    """A command of DVLA on one of the hosts.

    Args:
        folder: of the host: its keys, private folder and logs.
        namespace: of its network.
        module: to run.
        flags: of the command.
        other_clock: give it a clock and a boot id of its own.
        env: variables to add.
    """

    def __init__(
        self,
        folder: Path,
        namespace: str,
        module: str,
        *flags: str,
        other_clock: bool = False,
        env: dict[str, str] | None = None,
    ) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.module = module
        self.log = folder / f"{module.rsplit('.', 1)[-1]}-{time.monotonic_ns()}.log"
        command = ["ip", "netns", "exec", namespace]
        if other_clock:
            boot_id = folder / "boot_id"
            boot_id.write_text("11111111-2222-3333-4444-555555555555\n")
            mount = f"mount --bind {boot_id} /proc/sys/kernel/random/boot_id"
            command += ["unshare", "-T", "-m", "--monotonic", str(CLOCK_APART_S)]
            command += ["--fork", "--kill-child=SIGTERM"]
            command += ["sh", "-c", f'{mount} && exec "$@"', "sh"]
        command += [sys.executable, "-m", module, *flags]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment(folder), **(env or {})},
            )

    @property
    def text(self) -> str:
        """Everything that it has printed."""
        return self.log.read_text()

    def until(self, words: str) -> None:
        """Wait until it has printed something."""
        end = time.monotonic() + PATIENCE_S
        while words not in self.text:
            if time.monotonic() > end or self.process.poll() is not None:
                raise HostFailed("a program did not say what it should", got=self.text[-500:])
            time.sleep(0.05)

    def end(self) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(PATIENCE_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program itself, inside whatever started it."""
        pid = self.process.pid
        while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if self.module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2:3]:
                break
            if Path(f"/proc/{pid}/comm").read_text().startswith("python"):
                break
            pid = int(children[0])
        os.kill(pid, number)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a host whose user's files lie in ``folder``."""
    config = folder / "config"
    return {**os.environ, "XDG_RUNTIME_DIR": str(folder), "XDG_CONFIG_HOME": str(config)}


def keys(folder: Path, *flags: str) -> None:
    """Run ``dvla-keys``."""
    folder.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "dvla.runtime.cli.keys", *flags],
        env=environment(folder),
        check=True,
        capture_output=True,
    )
