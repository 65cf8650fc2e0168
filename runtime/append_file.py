"""Append-only files that stay readable after a kill: no buffer of ours, torn tails are dropped."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dvla.runtime.run_folder import RunFolderError


class AppendFile:
    """A new file that only grows; every ``append`` reaches the kernel before it returns.

    Args:
        path: must not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "xb", buffering=0)

    def append(self, payload: bytes | memoryview) -> None:
        """Write all of the payload; a short write is carried on until the kernel says why."""
        rest = memoryview(payload).cast("B")
        while len(rest):
            rest = rest[self._file.write(rest) or 0 :]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class AppendArray:
    """Rows of one dtype in a ``.npy`` file that ``read_rows`` reads at any time.

    The header says zero rows until ``close`` puts in the true count; from then on ``numpy.load``
    reads the file as well.

    Args:
        path: must not exist yet.
        dtype: of the rows.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._path = path
        self._dtype = dtype
        self._rows = 0
        self._file = AppendFile(path)
        self._file.append(_header(dtype, 0))

    def append(self, rows: NDArray[Any]) -> None:
        """Append rows (n,) of the dtype."""
        block = np.ascontiguousarray(rows, self._dtype)
        self._file.append(block.tobytes())
        self._rows += block.size

    def close(self) -> None:
        """Close the file; its header then tells the number of rows."""
        self._file.close()
        header = _header(self._dtype, self._rows)
        if len(header) == len(_header(self._dtype, 0)):
            with open(self._path, "r+b", buffering=0) as file:
                file.write(header)


def read_rows(path: Path) -> NDArray[Any]:
    """Return the complete rows of an ``AppendArray`` file, whatever its header counts.

    Raises:
        ValueError: the file does not begin like one.
    """
    with open(path, "rb") as file:
        version = npy.read_magic(file)
        if version == (1, 0):
            _, _, dtype = npy.read_array_header_1_0(file)
        else:
            _, _, dtype = npy.read_array_header_2_0(file)
        if dtype.hasobject or not dtype.itemsize:
            raise ValueError(f"{path.name} does not hold plain rows")
        payload = file.read()
    return np.frombuffer(payload, dtype, count=len(payload) // dtype.itemsize)


def _header(dtype: np.dtype[Any], rows: int) -> bytes:
    """Return the bytes of a ``.npy`` header; numpy pads it, so that a larger count still fits."""
    header = io.BytesIO()
    description = {
        "descr": npy.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (rows,),
    }
    npy.write_array_header_1_0(header, description)
    return header.getvalue()


def as_rows(path: Path, rows: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return rows of a file as those of a dtype; an older version's missing columns are zero.

    Raises:
        RunFolderError: they are not of an older version, or not rows of ours.
    """
    if rows.dtype == dtype:
        return rows
    theirs: Mapping[str, Any] = rows.dtype.fields or {}
    ours: Mapping[str, Any] = dtype.fields or {}
    if not theirs or any(name not in ours or ours[name][0] != theirs[name][0] for name in theirs):
        raise RunFolderError(
            f"{path} holds rows of another version",
            got=", ".join(rows.dtype.names or (str(rows.dtype),)),
        )
    filled = np.zeros(len(rows), dtype)
    for name in theirs:
        filled[name] = rows[name]
    return filled
