"""Lines for the person who started a program; when nobody reads them any more, it goes on."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator
from typing import TextIO

from dvla.engines.cli_errors import lead_nowhere

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
        lead_nowhere(stream)


def settle() -> None:
    """Flush what was printed, so that what nobody read does not spoil the exit code."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError), heard(stream):
            pass
