"""Compiled graphs kept in a bundle, in ``engines/<digest of the key>/``, to load faster later.

A compiled graph is believed only with its record beside it, which is written last and names the
whole key, the size and the hash. A half-written file, a file of another key and a damaged one are
never loaded: the engine compiles the ONNX again, as if they were not there. A backend that maps its
weights from a file of their own has two files, which are believed together or not at all.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from dvla.engines.built_here import was_built_here
from dvla.engines.cache import EngineKey
from dvla.engines.files import remove_abandoned, write_atomically
from dvla.engines.integrity import IntegrityChecker, sha256_file

ENGINES_FOLDER = "engines"
_log = logging.getLogger(__name__)


class StoredFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size and sha256 of a file as it was written."""

    size_bytes: int
    sha256: str


class CompiledRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a compiled graph is.

    Attributes:
        key: of the engine.
        graph: which of its graphs.
        size_bytes, sha256: of the compiled file.
        weights: of the file of its weights, where the backend keeps them apart.
    """

    key: EngineKey
    graph: str
    size_bytes: int
    sha256: str
    weights: StoredFile | None = None


class CompiledStore:
    """The compiled graphs of one engine key in one bundle.

    Args:
        bundle: the bundle's folder.
        key: of the engine; another key has another folder.
    """

    def __init__(self, bundle: Path, key: EngineKey) -> None:
        self.key = key
        self.folder = bundle / ENGINES_FOLDER / key.digest

    def path(self, graph: str) -> Path:
        """Return where the compiled form of a graph lies."""
        return self.folder / f"{graph}.compiled"

    def weights_path(self, graph: str) -> Path:
        """Return where the weights of a compiled graph lie, if they lie apart."""
        return self.folder / weights_name(graph)

    def find(self, graph: str) -> Path | None:
        """Return the compiled file of a graph if it is whole and of just this key."""
        found = self._find(graph, believe_stamps=True)
        return None if found is None else found[0]

    def find_program(self, graph: str) -> tuple[Path, str] | None:
        """Return the compiled file of a graph, and the sha256 of what is in it now.

        For what is started as a program: the whole file is read, whatever the bundle says of it.
        """
        return self._find(graph, believe_stamps=False)

    def is_built_here(self, graph: str) -> bool:
        """Whether a graph is stored whole, and this user compiled it on this machine."""
        found = self.find_program(graph)
        return found is not None and was_built_here(found[1])

    def _find(self, graph: str, believe_stamps: bool) -> tuple[Path, str] | None:
        path = self.path(graph)
        try:
            record = msgspec.json.decode(self._record_path(graph).read_bytes(), type=CompiledRecord)
            if record.key != self.key or record.graph != graph:
                raise ValueError("it is of another engine")
            checker = IntegrityChecker(self.folder, believe_stamps)
            _check(checker, path, record.size_bytes, record.sha256)
            if record.weights is not None:
                weights = record.weights
                _check(checker, self.weights_path(graph), weights.size_bytes, weights.sha256)
            if believe_stamps:
                checker.remember()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # msgspec's decoding errors are ValueErrors.
            _log.warning("The compiled graph %s is not used: %s", path, error)
            return None
        return path, record.sha256

    def save(self, graph: str, compiled: bytes | memoryview) -> None:
        """Keep a compiled graph; it is found from the moment it is complete, not before."""
        self.save_written(graph, lambda folder: _write(folder / self.path(graph).name, compiled))

    def save_written(self, graph: str, write: Callable[[Path], None]) -> None:
        """Keep what ``write`` writes into the folder that it is given: ``<graph>.compiled``, and
        where the backend keeps its weights apart ``weights_name(graph)``.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(self.folder)
        self._record_path(graph).unlink(missing_ok=True)
        building = self.folder / f".{graph}.partial-{os.getpid()}"
        building.mkdir()
        try:
            write(building)
            found = [_installed(building / path.name, path) for path in self._files(graph)]
        finally:
            shutil.rmtree(building, ignore_errors=True)
        compiled, weights = found
        if compiled is None:
            raise FileNotFoundError(f"Nothing was written for {self.path(graph)}")
        record = CompiledRecord(
            key=self.key,
            graph=graph,
            size_bytes=compiled.size_bytes,
            sha256=compiled.sha256,
            weights=weights,
        )
        write_atomically(self._record_path(graph), msgspec.json.encode(record), durable=True)

    def remove(self, graph: str) -> None:
        """Forget a compiled graph."""
        self._record_path(graph).unlink(missing_ok=True)
        for file in self._files(graph):
            file.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.glob("*.json")):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self, graph: str) -> tuple[Path, Path]:
        return self.path(graph), self.weights_path(graph)

    def _record_path(self, graph: str) -> Path:
        return self.folder / f"{graph}.json"


def weights_name(graph: str) -> str:
    """Return the name of the file with a compiled graph's weights."""
    return f"{graph}.weights"


def _check(checker: IntegrityChecker, path: Path, size_bytes: int, sha256: str) -> None:
    """Raise a ValueError unless a file is the one that was written."""
    if path.stat().st_size != size_bytes:
        raise ValueError(f"{path.name} should have {size_bytes} bytes")
    if checker.sha256(path.name) != sha256:
        raise ValueError(f"the content of {path.name} changed")


def _installed(written: Path, path: Path) -> StoredFile | None:
    """Bring a written file to the disk, give it its name and hash it; a missing one is removed."""
    if not written.exists():
        path.unlink(missing_ok=True)
        return None
    handle = os.open(written, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(written, path)
    return StoredFile(size_bytes=path.stat().st_size, sha256=sha256_file(path))


def _write(path: Path, content: bytes | memoryview) -> None:
    with path.open("wb") as file:
        file.write(content)
