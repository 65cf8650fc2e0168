"""A folder for what a compiler writes on its way.

It is removed with its process; if that was killed, by the next one that takes such a folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "dvla-compile-"
_PLAIN = Path("/tmp")
SETTLED_S = 10.0
"""Between being made and being locked a folder is no older than that."""
_SPLIT_NOWHERE = re.compile(r"[\w./+-]+")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new folder and remove it afterwards; its path is absolute and has no space in it.

    Command lines of compilers are split at spaces, and run in other folders than this process.

    Raises:
        OSError: the folder cannot be made.
    """
    usual = Path(tempfile.gettempdir()).absolute()
    parent = usual if _SPLIT_NOWHERE.fullmatch(str(usual)) else _PLAIN
    _remove_abandoned(parent)
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True) as made,
        _opened(Path(made)) as handle,
    ):
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield Path(made)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield handle
    finally:
        os.close(handle)


def _remove_abandoned(parent: Path) -> None:
    """Remove this user's folders whose processes are gone: a live one has its folder locked."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError), _opened(folder) as handle:
            status = os.fstat(handle)
            if status.st_uid == os.getuid() and time.time() - status.st_ctime > SETTLED_S:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
