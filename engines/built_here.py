"""Which compiled programs this user made on this machine: only those are ever loaded.

A package of the torch backend is a shared library. Its hash in a bundle proves that it is whole,
not whose it is: whoever can write the package can write the hash. So the export notes the hash of
what it compiled outside of all bundles, and a package that is not noted is refused.
"""

from __future__ import annotations

import os
from pathlib import Path

NOTES_NAME = "compiled-here.txt"


def notes_path() -> Path:
    """Return the file of hashes, one a line; readable and writable by its owner alone."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "dvla" / NOTES_NAME


def note_built(sha256: str) -> None:
    """Note that a program was compiled here."""
    path = notes_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, f"{sha256}\n".encode())
    finally:
        os.close(handle)


def was_built_here(sha256: str) -> bool:
    """Whether a program was noted; a file that others may write counts for nothing."""
    path = notes_path()
    try:
        status = path.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            return False
        return sha256 in path.read_text().split()
    except OSError:
        return False
