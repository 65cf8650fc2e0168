"""How every command ends: the mapping from exceptions to one paragraph and an exit code.

Exit codes: 0 done; 1 a verification failed, or the robot did; 2 wrong use or wrong input; 3 the
environment lacks something; 130 interrupted; 70 a fault of DVLA itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable
from typing import TextIO

from dvla.engines.errors import DvlaError

EXIT_ENVIRONMENT = 3
EXIT_FAULT = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def run_main(fn: Callable[[], int | None], *, debug: bool | None = None) -> int:
    """Run a command's body and turn what it raises into one paragraph and an exit code.

    Args:
        fn: the body; it parses its arguments itself. It may return an exit code.
        debug: print tracebacks as well; ``None`` looks for ``--debug`` on the command line.

    Returns:
        The exit code, for ``sys.exit``. ``SystemExit`` (``--help``, parse errors) passes through.
    """
    caught: BaseException
    wants_traceback = "--debug" in sys.argv[1:] if debug is None else debug
    try:
        code = fn() or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output has seen enough, as in ``... | head``
        lead_nowhere(sys.stdout)
        return EXIT_BROKEN_PIPE
    except DvlaError as error:
        caught, code, message = error, error.exit_code, str(error)
    except KeyboardInterrupt as error:
        caught, code, message = error, EXIT_INTERRUPTED, "Interrupted."
    except OSError as error:
        caught, code, message = error, EXIT_ENVIRONMENT, _operating_system_message(error)
    except Exception as error:
        caught, code = error, EXIT_FAULT
        message = (
            f"A fault in DVLA: {type(error).__name__}: {error} "
            "Next: run the same command with --debug and report its output."
        )
    if wants_traceback:
        traceback.print_exception(type(caught), caught, caught.__traceback__)
    command = sys.argv[0].rsplit("/", 1)[-1]
    try:
        print(f"{command}: {message}", file=sys.stderr)
    except OSError:  # nobody reads it any more: the code still says it
        lead_nowhere(sys.stderr)
    return code


def lead_nowhere(stream: TextIO) -> None:
    """Replace what a stream writes to; the interpreter flushes it once more when it ends."""
    with contextlib.suppress(OSError, ValueError):  # a test's stream has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)


def _operating_system_message(error: OSError) -> str:
    """Say what the operating system refused, and for which file."""
    where = f" {error.filename}" if error.filename else ""
    reason = error.strerror or str(error)
    if error.errno == errno.ENOSPC:
        return (
            f"The disk is full{':' if where else ''}{where}. Next: free some space and run again."
        )
    return f"The operating system refused{where}: {reason}."
