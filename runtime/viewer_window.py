"""The viewer's window: rerun in a process of its own, which stays open and hears this host alone.

Rerun's own ``spawn`` listens on every interface, for whoever comes (rerun-io/rerun#5882), and hands
the data to what has its usual port already. Here it listens on the loopback, on a port of its own.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from typing import IO, Any

from dvla.engines.errors import MissingDependency
from dvla.engines.lifeline import kill_group

LOOPBACK = "127.0.0.1"
COMMAND = (sys.executable, "-m", "rerun")
START_S = 30.0
_SAVE = "dvla-view RUN --save run.rrd, and rerun run.rrd on a host with a display"


def has_display() -> bool:
    """Return whether a window could open here."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_window(recording: Any) -> subprocess.Popen[bytes]:
    """Open the viewer, and let a rerun recording stream send to it.

    Args:
        recording: the stream.

    Raises:
        MissingDependency: there is no display, or the viewer does not open.
    """
    if not has_display():
        raise MissingDependency(
            "The viewer has no display to open a window on",
            got="neither DISPLAY nor WAYLAND_DISPLAY",
            next_command=_SAVE,
        )
    port = _free_port()
    with tempfile.TemporaryFile() as said:
        window = subprocess.Popen(
            [*COMMAND, "--bind", LOOPBACK, "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        _await(window, port, said)
    recording.connect_grpc(f"rerun+http://{LOOPBACK}:{port}/proxy")
    return window


def _await(window: subprocess.Popen[bytes], port: int, said: IO[bytes]) -> None:
    """Wait until the viewer listens; raise a MissingDependency where it ended or never does."""
    end_s = time.monotonic() + START_S
    while window.poll() is None and time.monotonic() < end_s:
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return
        time.sleep(0.05)
    kill_group(window.pid)  # rerun is a Python program that runs another one
    window.wait()
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    raise MissingDependency(
        "The viewer's window did not open",
        got=lines[-1][:300] if lines else "no word from it",
        next_command=_SAVE,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
