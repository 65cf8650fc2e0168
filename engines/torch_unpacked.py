"""What torch's loader unpacked for processes that were killed, which nobody else removes.

The loader unpacks a package, its weights with it, into a folder of its own in the folder for
temporary files, and removes it when the program is freed: a killed process leaves it behind.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# Older versions of torch leave out the first part, and unpack to /tmp whatever TMPDIR says.
_NAME = re.compile(r"(aotinductor_)?[A-Za-z0-9]{6}")
_INSIDE = Path("data") / "aotinductor" / "model"
SETTLED_S = 300.0
"""A folder that changed later than that may be one that a process is just unpacking."""
PLACES = (Path("/tmp"),)
PROCESSES = Path("/proc")


def remove_abandoned() -> None:
    """Remove the folders of this user that no process maps; in doubt a folder stays."""
    found = [
        folder for place in {*PLACES, Path(tempfile.gettempdir())} for folder in _unpacked(place)
    ]
    if not found:
        return
    mapped = _mapped_by_own()
    if mapped is None:
        return
    for folder in found:
        if f"{folder.resolve()}/" not in mapped:
            shutil.rmtree(folder, ignore_errors=True)


def _unpacked(place: Path) -> Iterator[Path]:
    """Yield this user's folders that hold one unpacked package and have not changed lately."""
    try:
        entries = [each for each in os.scandir(place) if _NAME.fullmatch(each.name)]
    except OSError:
        return
    for entry in entries:
        try:
            folder = Path(entry.path)
            own = entry.is_dir(follow_symlinks=False) and folder.stat().st_uid == os.getuid()
            if own and _holds_a_package(folder) and _age_s(folder) > SETTLED_S:
                yield folder
        except OSError:  # It was removed meanwhile.
            continue


def _holds_a_package(folder: Path) -> bool:
    children = list(folder.iterdir())
    return len(children) == 1 and (children[0] / _INSIDE).is_dir()


def _age_s(folder: Path) -> float:
    """Return the time since anything in a folder changed [s]."""
    newest_s = max(each.lstat().st_ctime for each in (folder, *folder.rglob("*")))
    return time.time() - newest_s


def _mapped_by_own() -> str | None:
    """Return the mapped files of this user's processes, or nothing if a Python does not tell.

    What hides its memory is mostly something else: an agent of keys, the first process of a host.
    """
    mapped = []
    for process in PROCESSES.glob("[0-9]*"):
        try:
            if _user_of(process) == os.getuid():
                mapped.append(_maps(process))
        except (FileNotFoundError, ProcessLookupError):  # It has ended.
            continue
        except OSError:
            return None
    return "\n".join(mapped)


def _maps(process: Path) -> str:
    try:
        return (process / "maps").read_text(errors="replace")
    except PermissionError:
        if b"python" in (process / "cmdline").read_bytes():
            raise
        return ""


def _user_of(process: Path) -> int:
    """Return the real user of a process, who is told even where its files belong to root."""
    for line in (process / "status").read_text(errors="replace").splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[1])
    raise FileNotFoundError(process)
