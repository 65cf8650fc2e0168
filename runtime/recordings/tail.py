"""Files of a run while they grow: what has come since the last look, and never half of anything."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dvla.runtime.append_file import as_rows

MAX_READ = 16 << 20
MCAP_MAGIC = 8
_HEAD = 9  # of an MCAP record: its kind and its length


class LineTail:
    """The complete lines of a growing text file.

    Args:
        path: need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def take(self) -> list[bytes]:
        """Return the lines that were completed since the last call."""
        block = _read(self._path, self._offset)
        whole, newline, _ = block.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return whole.split(b"\n") if newline else []


class RowTail:
    """The complete rows of a growing ``.npy`` file.

    Args:
        path: need not exist yet.
        dtype: of the rows.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._path, self._dtype, self._offset = path, dtype, 0
        self._theirs = dtype

    def take(self) -> NDArray[Any]:
        """Return the rows (n,) that were completed since the last call.

        Raises:
            RunFolderError: they are of a version that is not known.
        """
        if not self._offset:
            try:
                with self._path.open("rb") as file:
                    npy.read_magic(file)
                    self._theirs = npy.read_array_header_1_0(file)[2]
                    self._offset = file.tell()
            except (OSError, ValueError):
                return np.zeros(0, self._dtype)
        block = _read(self._path, self._offset)
        count = len(block) // self._theirs.itemsize
        self._offset += count * self._theirs.itemsize
        return as_rows(self._path, np.frombuffer(block, self._theirs, count=count), self._dtype)


class McapTail:
    """The messages of a growing series of MCAP files, chunk by chunk.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._number, self._offset = folder, 0, MCAP_MAGIC
        self._topics: dict[int, str] = {}
        self._stream: Any = import_module("mcap.stream_reader")
        self._records: Any = import_module("mcap.records")
        self._errors: Any = import_module("mcap.exceptions")

    def take(self) -> list[tuple[str, int, bytes]]:
        """Return (topic, time [ns], payload) of what was written since the last call."""
        found = self._of_file()
        if not found and self._path(self._number + 1).exists():
            self._number, self._offset, self._topics = self._number + 1, MCAP_MAGIC, {}
            found = self._of_file()
        return found

    def _path(self, number: int) -> Path:
        return self._folder / f"recording-{number:03d}.mcap"

    def _of_file(self) -> list[tuple[str, int, bytes]]:
        block = _read(self._path(self._number), self._offset)
        end = 0
        while end + _HEAD <= len(block):
            size = _HEAD + int.from_bytes(block[end + 1 : end + _HEAD], "little")
            if end + size > len(block) or block[end : end + 1] == b"\x02":  # the footer ends a file
                break
            end += size
        self._offset += end
        found = []
        reader = self._stream.StreamReader(io.BytesIO(block[:end]), skip_magic=True)
        try:
            for record in reader.records:
                if isinstance(record, self._records.Channel):
                    self._topics[record.id] = record.topic
                elif isinstance(record, self._records.Message):
                    found.append((self._topics[record.channel_id], record.log_time, record.data))
        except (self._errors.McapError, EOFError):
            pass  # the end of what there is
        return found


def _read(path: Path, offset: int) -> bytes:
    """Return what a file holds from an offset on, at most ``MAX_READ``; none if it is missing."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(MAX_READ)
    except OSError:
        return b""
