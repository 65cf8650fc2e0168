"""Files that are there whole, or as they were."""

from __future__ import annotations

import os
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
