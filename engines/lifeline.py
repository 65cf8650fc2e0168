"""A child process, and everything that it starts, that does not outlive its parent.

The parent holds one end of a pipe and the child the other. When the parent ends, however that
happens, Linux closes its end, and sends the signal that the child asked for to the child's group.
No thread has to run for that, so it also ends a child that is deep in a library.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PDEATHSIG = 1


@contextmanager
def lifeline() -> Iterator[int]:
    """Yield the descriptor that a child is given (``pass_fds``); its parent holds the other end."""
    given, held = os.pipe()
    try:
        yield given
    finally:
        os.close(given)
        os.close(held)


def end_with_parent(given: int) -> None:
    """Have Linux kill this process's whole group when the parent ends.

    Args:
        given: what the parent's ``lifeline`` yielded; this process leads a group of its own.
    """
    try:
        fcntl.fcntl(given, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(given, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(given, fcntl.F_GETFL)
        fcntl.fcntl(given, fcntl.F_SETFL, flags | os.O_ASYNC)
    except OSError:  # A kernel without it ends at least this process.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    if select.select([given], [], [], 0)[0]:  # The parent was gone before it was asked for.
        os.killpg(os.getpgrp(), signal.SIGKILL)


def kill_group(leader: int) -> None:
    """Kill what is left of the group of a process that was started in a session of its own."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
