"""Ctrl-C, SIGTERM and a closed terminal, as a wish that a loop looks at."""

from __future__ import annotations

import signal
from typing import Any


class Impatient(BaseException):
    """A second Ctrl-C or SIGTERM: stop the arm, and wait for nothing else."""


class Signals:
    """Turns SIGINT, SIGTERM and SIGHUP into a wish to stop; the second one interrupts the stop.

    SIGHUP comes when a terminal is closed or a connection drops, often more than once: it
    interrupts nothing, and stays ignored where it was when the program began (nohup).

    Args:
        once: further ones change nothing: there is nothing to wait for but the arm.
    """

    def __init__(self, *, once: bool = False) -> None:
        self.received = 0
        self._once = once
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._take)

    def _take(self, number: int, frame: Any) -> None:
        if self.received and not self._once and number != signal.SIGHUP:
            raise Impatient
        self.received = self.received or number

    def ignore(self) -> None:
        """Let nothing interrupt the last steps."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
