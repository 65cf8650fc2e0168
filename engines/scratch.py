"""A folder for what a compiler writes on its way, gone when the compiler is."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "dvla-compile-"
_PLAIN = Path("/tmp")
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
    with tempfile.TemporaryDirectory(
        prefix=PREFIX, dir=parent, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)
