"""What is done to the cable between two hosts, and by strangers along it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dvla.benchmarks.faults.hosts import environment
from dvla.benchmarks.faults.live_hosts import ADDRESS, CALM, WatchedHosts

STRANGERS = 3
_JUNK = """
import sys, time
from dvla.runtime.arm_link import ArmLink
from dvla.runtime.wire import MAX_COMMAND_BYTES, CommandPublisher
from dvla.runtime.wire_control import ControlClient
at = ArmLink(name="franka", address=sys.argv[1], keys="jetson").connecting()
commands, control = CommandPublisher(at), ControlClient(at)
commands.await_peer(10.0)
for payload in (b"junk", b"\\x81\\xa4type\\xa4hold", bytes(3000), bytes(MAX_COMMAND_BYTES * 64)):
    for _ in range(20):
        control.socket.send(payload[:3000])
        commands.socket.send(payload)
        time.sleep(0.02)
"""


def delayed(delay_ms: float, jitter_ms: float) -> Callable[[WatchedHosts], None]:
    """Return what makes packets late."""
    return lambda run: run.cable.shape(CALM[0] + delay_ms, CALM[1] + jitter_ms)


def lossy(share: float) -> Callable[[WatchedHosts], None]:
    """Return what loses packets."""
    return lambda run: run.cable.shape(*CALM[:2], share)


def broken(seconds: float) -> Callable[[WatchedHosts], None]:
    """Return what pulls the cable out for a while."""

    def act(run: WatchedHosts) -> None:
        run.cable.cut()
        time.sleep(seconds)
        run.cable.shape(*CALM)

    return act


def cut(run: WatchedHosts) -> None:
    """Pull the cable out."""
    run.cable.cut()


def kill_arm(run: WatchedHosts) -> None:
    """Kill the controller's parent."""
    run.arm.signal(signal.SIGKILL)


def wrong_key(run: WatchedHosts) -> None:
    """Knock with a key that nobody has allowed."""
    knocking = [run.ask("stranger") for _ in range(STRANGERS)]
    for one in knocking:
        one.process.wait()


def send_junk(folder: Path, namespace: str) -> None:
    """Send what is no message, and frames over every cap, with a key that is allowed."""
    subprocess.run(
        ["ip", "netns", "exec", namespace, sys.executable, "-c", _JUNK, ADDRESS],
        env=environment(folder),
        check=True,
    )


def junk(run: WatchedHosts) -> None:
    """Send junk beside the run."""
    send_junk(run.hosts.jetson, run.cable.run)
