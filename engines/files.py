"""Files that are there whole, or as they were, and folders that one process at a time changes."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(path: Path, content: bytes | memoryview, *, durable: bool = False) -> None:
    """Write a file so that a reader sees the old or the new one, never half of either.

    Args:
        path: of the file, in a folder that is there.
        content: of it.
        durable: bring it to the disk before it gets its name, so that a power cut keeps that too.

    Raises:
        OSError: the disk is full, or refuses; the old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_abandoned(folder: Path, name: str = "*") -> None:
    """Remove what processes that are gone left half-made in a folder, as ``.NAME.partial-PID``."""
    for path in folder.glob(f".{name}.partial-*"):
        pid = path.name.rsplit("-", 1)[-1]
        if not pid.isdigit() or Path(f"/proc/{pid}").exists():
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Let one process at a time change what a folder holds; the others wait for it.

    The lock is on the folder itself, so that it leaves no file behind and ends with its process. A
    folder that another one takes the name of while this waits is not the one that is locked.

    Raises:
        OSError: there is no such folder.
    """
    while True:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with suppress(OSError):  # Some network file systems lock no folder.
                fcntl.flock(handle, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(handle), folder.stat()):
                yield
                return
        finally:
            os.close(handle)
