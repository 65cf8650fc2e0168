"""The tables of a LeRobot dataset: what ``meta/`` says, and the rows of parquet files."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from dvla.engines.errors import MissingDependency, UsageError

INFO_NAME = "meta/info.json"
VERSIONS = ("v2.1", "v3.0")


class Feature(msgspec.Struct, frozen=True):
    """One column or film of a dataset."""

    dtype: str
    shape: tuple[int, ...]


class Info(msgspec.Struct, frozen=True):
    """What ``meta/info.json`` says of a dataset; fields that do not matter here are left out."""

    codebase_version: str
    fps: float
    features: dict[str, Feature]
    data_path: str
    video_path: str | None = None
    total_episodes: int = 0
    chunks_size: int = 1000


class Film(msgspec.Struct, frozen=True, kw_only=True):
    """Where the film of one camera in an episode lies, and when the episode begins in it [s]."""

    path: Path
    start_s: float = 0.0


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """Where the steps and films of one episode lie."""

    index: int
    length: int
    table: Path
    films: dict[str, Film]


def read_info(path: Path) -> Info:
    """Return what a dataset says of itself.

    Raises:
        UsageError: it is not a LeRobot dataset of a version that is read here.
    """
    try:
        info = msgspec.json.decode((path / INFO_NAME).read_bytes(), type=Info)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{path / INFO_NAME} cannot be read", got=str(error)) from error
    if info.codebase_version not in VERSIONS or info.fps <= 0:
        raise UsageError(
            f"{path} is a LeRobot dataset of a version that is not read",
            got=f"{info.codebase_version}, {info.fps:g} frames per second",
            choices=VERSIONS,
        )
    return info


def place(row: dict[str, Any], prefix: str) -> dict[str, int]:
    """Return in which file of a version 3 dataset something lies."""
    return {name: int(row[f"{prefix}/{name}"]) for name in ("chunk_index", "file_index")}


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON-lines file."""
    try:
        return [msgspec.json.decode(x, type=dict[str, Any]) for x in path.read_bytes().splitlines()]
    except (OSError, msgspec.MsgspecError) as error:
        raise damaged(path, error) from error


def rows(path: Path, columns: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a parquet file.

    Raises:
        UsageError: the file is missing or damaged, or lacks a column.
        MissingDependency: pyarrow is not installed.
    """
    try:
        parquet = import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "Reading a LeRobot dataset needs pyarrow",
            got=str(error),
            next_command="pip install 'dvla[recordings]'",
        ) from error
    try:
        found: list[dict[str, Any]] = (
            parquet.ParquetFile(path)
            .read(columns=None if columns is None else list(columns))
            .to_pylist()
        )
    except (OSError, ValueError, KeyError) as error:  # ArrowInvalid is a ValueError.
        raise damaged(path, error) from error
    missing = [c for c in columns or () if found and c not in found[0]]
    if missing:
        raise UsageError(f"{path} lacks a column", got=f"no {', '.join(missing)}")
    return found


def damaged(path: Path, error: Exception) -> UsageError:
    """Return the error of a dataset that is not whole."""
    return UsageError(
        f"{path} of the LeRobot dataset is missing or damaged",
        got=(str(error).splitlines() or [type(error).__name__])[0],
        expected="a dataset as LeRobot wrote it",
        next_command="download or record the dataset again",
    )
