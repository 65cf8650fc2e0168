"""Where a command's file goes: checked before the work whose result it is to hold."""

from __future__ import annotations

import os
from pathlib import Path

from dvla.engines.errors import UsageError


def check_output(flag: str, path: Path) -> None:
    """Check that a file can be made at a path; one that is there already is replaced.

    Args:
        flag: that gave the path, as in ``--out``.
        path: of the file.

    Raises:
        UsageError: a folder lies there, or it has no folder that may be written to.
    """
    if path.is_dir():
        raise UsageError(
            f"{flag} names a folder, and a file is to be written",
            got=f"{str(path)!r}",
            expected=f"the name of a file, in that folder or another: {flag} FOLDER/NAME",
        )
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(
            f"{flag} names a file in a folder that is not there",
            got=f"{str(path)!r}",
            expected="a file in a folder that exists",
            next_command=f"mkdir -p {folder}",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(
            f"{flag} names a file in a folder that may not be written to",
            got=f"{str(path)!r}",
            expected="a file in a folder of your own",
        )
