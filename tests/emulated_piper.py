"""Starts the emulated PiPER of ``piper_emulator_process.py`` and asks what became of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
PATIENCE_S = 30.0


def start_script(name: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program of the tests' folder, with the package and the tests on its path."""
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    return subprocess.Popen(
        [sys.executable, str(TESTS / name), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line that it prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


class EmulatedPiper:
    """An arm behind a serial CAN adapter, in a process of its own.

    Args:
        wrong: what is wrong with it.

    Attributes:
        can: what ``--can`` takes.
    """

    def __init__(self, *wrong: str) -> None:
        self.process = start_script("piper_emulator_process.py", *wrong)
        self.can = f"slcan:{line_of(self.process)}"

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> dict[str, Any]:
        """End it and return what became of the arm."""
        self.signal(signal.SIGTERM)
        return dict(json.loads(self.process.communicate(timeout=PATIENCE_S)[0]))

    def kill(self) -> None:
        """Pull its plug, if it still runs."""
        self.process.kill()
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.process.communicate()
