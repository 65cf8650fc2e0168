"""Compiled graphs kept in a bundle, in ``engines/<digest of the key>/``, to load faster later.

A compiled graph is believed only with its record beside it, which is written last and names the
whole key, the size and the hash. A half-written file, a file of another key and a damaged one are
never loaded: the engine compiles the ONNX again, as if they were not there.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import msgspec

from dvla.engines.built_here import was_built_here
from dvla.engines.cache import EngineKey
from dvla.engines.integrity import IntegrityChecker, sha256_file

ENGINES_FOLDER = "engines"
_log = logging.getLogger(__name__)


class CompiledRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a compiled file is: the engine's key and graph, and the file's size and sha256."""

    key: EngineKey
    graph: str
    size_bytes: int
    sha256: str


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

    def find(self, graph: str) -> Path | None:
        """Return the compiled file of a graph if it is whole and of just this key."""
        path = self.path(graph)
        try:
            record = msgspec.json.decode(self._record_path(graph).read_bytes(), type=CompiledRecord)
            if record.key != self.key or record.graph != graph:
                raise ValueError("it is of another engine")
            if path.stat().st_size != record.size_bytes:
                raise ValueError(f"it should have {record.size_bytes} bytes")
            checker = IntegrityChecker(self.folder)
            if checker.sha256(path.name) != record.sha256:
                raise ValueError("its content changed")
            checker.remember()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # msgspec's decoding errors are ValueErrors.
            _log.warning("The compiled graph %s is not used: %s", path, error)
            return None
        return path

    def sha256(self, graph: str) -> str:
        """Return the hash that the record of a graph names; ``find`` compares the file with it."""
        try:
            encoded = self._record_path(graph).read_bytes()
            return msgspec.json.decode(encoded, type=CompiledRecord).sha256
        except (OSError, ValueError):
            return ""

    def is_built_here(self, graph: str) -> bool:
        """Whether a graph is stored whole, and this user compiled it on this machine."""
        return self.find(graph) is not None and was_built_here(self.sha256(graph))

    def save(self, graph: str, compiled: bytes | memoryview) -> None:
        """Keep a compiled graph; it is found from the moment it is complete, not before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned()
        path, record_path = self.path(graph), self._record_path(graph)
        record_path.unlink(missing_ok=True)
        _write_whole(path, compiled)
        record = CompiledRecord(
            key=self.key, graph=graph, size_bytes=path.stat().st_size, sha256=sha256_file(path)
        )
        _write_whole(record_path, msgspec.json.encode(record))

    def remove(self, graph: str) -> None:
        """Forget a compiled graph."""
        self._record_path(graph).unlink(missing_ok=True)
        self.path(graph).unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.glob("*.json")):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _record_path(self, graph: str) -> Path:
        return self.folder / f"{graph}.json"

    def _remove_abandoned(self) -> None:
        """Remove files that processes which are gone left half-written."""
        for file in self.folder.glob(".*.partial-*"):
            pid = file.name.rsplit("-", 1)[-1]
            if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                file.unlink(missing_ok=True)


def _write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file under another name, bring it to the disk, and give it its name."""
    temporary = path.parent / f".{path.name}.partial-{os.getpid()}"
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
