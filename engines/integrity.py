"""Hashes of files, and the record that spares hashing gigabytes of unchanged weights.

A file's stamp holds its change time (ctime), which no program can set: writing, renaming over or
back-dating a file gives it a new one. A large file whose stamp is the one that was recorded after
its last full check is the file that was checked. Small files, the graphs among them, are hashed
every time.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import msgspec

STAMPS_NAME = ".checked.json"
ALWAYS_HASHED_BELOW_BYTES = 16 << 20
# A file that changed this recently may change again without its ctime moving on.
SETTLED_NS = 2_000_000_000
_BLOCK_BYTES = 1 << 20


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What identifies one state of a file on this machine, and the hash it had then."""

    sha256: str
    size_bytes: int
    inode: int
    mtime_ns: int
    ctime_ns: int


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class IntegrityChecker:
    """Hashes the files of one folder; remembers the large ones between runs.

    Args:
        folder: the bundle. Where it cannot be written, nothing is remembered.
        believe_stamps: whoever can write the bundle can write its stamps. That is fine for data,
            whose hashes lie in the bundle as well, and not for what is started as a program.
    """

    def __init__(self, folder: Path, believe_stamps: bool = True) -> None:
        self._folder = folder
        self._path = folder / STAMPS_NAME
        self._stamps = self._read() if believe_stamps else {}
        self._changed = False

    def sha256(self, relative_path: str) -> str:
        """Return the sha256 of a file, from its stamp where that still holds."""
        path = self._folder / relative_path
        before = path.stat()
        stamp = Stamp(
            sha256="",
            size_bytes=before.st_size,
            inode=before.st_ino,
            mtime_ns=before.st_mtime_ns,
            ctime_ns=before.st_ctime_ns,
        )
        known = self._stamps.get(relative_path)
        large = before.st_size >= ALWAYS_HASHED_BELOW_BYTES
        if large and known and msgspec.structs.replace(known, sha256="") == stamp:
            return known.sha256
        settled = time.time_ns() - before.st_ctime_ns > SETTLED_NS
        digest = sha256_file(path)
        if large and settled:
            self._stamps[relative_path] = msgspec.structs.replace(stamp, sha256=digest)
            self._changed = True
        return digest

    def remember(self) -> None:
        """Write the stamps for the next run; a read-only bundle simply has none."""
        if not self._changed:
            return
        try:
            self._path.write_bytes(msgspec.json.encode(self._stamps))
        except OSError:
            return

    def _read(self) -> dict[str, Stamp]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Stamp])
        except (OSError, msgspec.DecodeError):
            return {}
