"""Lines for the person who started a program; when nobody reads them any more, it goes on."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import TextIO

GONE = (errno.EPIPE, errno.EIO)
"""What the system says when the reader of a pipe has ended, and when a terminal has."""


def say(line: str) -> None:
    """Tell a line on standard error; one that cannot be told ends nothing."""
    with contextlib.suppress(OSError), heard(sys.stderr):
        print(line, file=sys.stderr)


@contextlib.contextmanager
def heard(stream: TextIO | None) -> Iterator[None]:
    """Write to a stream in here; once its reader is gone, all of it goes nowhere from then on.

    Args:
        stream: standard output or standard error; None where the program has none.

    Raises:
        OSError: it cannot be written to for another reason, such as a full disk.
    """
    try:
        yield
        if stream is not None:
            stream.flush()
    except OSError as error:
        if stream is None or error.errno not in GONE:
            raise
        _lead_nowhere(stream)


def settle() -> None:
    """Flush what was printed, so that what nobody read does not spoil the exit code."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError), heard(stream):
            pass


def _lead_nowhere(stream: TextIO) -> None:
    """Replace what a stream writes to; the interpreter flushes it once more when it ends."""
    with contextlib.suppress(OSError, ValueError):  # a test's stream has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
