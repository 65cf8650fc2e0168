"""Keys of the terminal during a run: h holds the arm, R lets it be followed again."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
from types import TracebackType
from typing import Any

HOLD, RESUME = "h", "R"
"""Holding is easy and resuming takes the shift key: it is meant, or it does not happen."""
HINT = f"{HOLD} holds · {RESUME} resumes · Ctrl-C stops"


class Keys:
    """Reads single keys while it is entered; the terminal is as it was afterwards.

    Without a terminal, or in the background, there are no keys. Ctrl-C stays a signal.
    """

    def __init__(self, fd: int | None = None) -> None:
        self._fd = _terminal() if fd is None else fd
        self._saved: list[Any] | None = None

    def __enter__(self) -> Keys:
        if self._fd >= 0:
            with contextlib.suppress(termios.error):
                self._saved = termios.tcgetattr(self._fd)
                changed = termios.tcgetattr(self._fd)
                changed[3] &= ~(termios.ICANON | termios.ECHO)
                termios.tcsetattr(self._fd, termios.TCSANOW, changed)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._saved is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSANOW, self._saved)
            self._saved = None

    @property
    def active(self) -> bool:
        """Whether keys are read."""
        return self._saved is not None

    def pressed(self) -> str:
        """Return the keys pressed since the last call; never waits."""
        if self._saved is None or not select.select([self._fd], [], [], 0)[0]:
            return ""
        try:
            return os.read(self._fd, 64).decode(errors="replace")
        except OSError:
            return ""


def _terminal() -> int:
    """Return the descriptor of the terminal that this process may read, or -1."""
    try:
        fd = sys.stdin.fileno()
        return fd if os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp() else -1
    except (OSError, ValueError, AttributeError):
        return -1
