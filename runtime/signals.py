"""Ctrl-C and SIGTERM, as a wish that a loop looks at."""

from __future__ import annotations

import signal
from typing import Any


class Impatient(BaseException):
    """A second Ctrl-C: stop the arm, and wait for nothing else."""


class Signals:
    """Turns SIGINT and SIGTERM into a wish to stop; the second one interrupts the stop.

    Args:
        once: further ones change nothing: there is nothing to wait for but the arm.
    """

    def __init__(self, *, once: bool = False) -> None:
        self.received = 0
        self._once = once
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)

    def _take(self, number: int, frame: Any) -> None:
        if self.received and not self._once:
            raise Impatient
        self.received = self.received or number

    def ignore(self) -> None:
        """Let nothing interrupt the last steps."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
