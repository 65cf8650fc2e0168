"""Bundles on disk: what export writes and the runtime reads.

A bundle is a folder with ``manifest.json``, ``onnx/``, ``tokenizer.json`` and the reference
actions that any device can verify itself against. It appears under its name complete or not at
all: it is built in a hidden sibling folder, which is renamed at the end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import msgspec

from dvla.engines.errors import BundleError, UsageError
from dvla.engines.files import locked_folder, remove_abandoned, write_atomically
from dvla.engines.integrity import IntegrityChecker, sha256_file
from dvla.engines.manifest import SCHEMA_VERSION, FileRecord, Manifest
from dvla.engines.tensors import GraphSpec

MANIFEST_NAME = "manifest.json"
TOKENIZER_NAME = "tokenizer.json"
REFERENCE_NAME = "reference.npz"
_REBUILD = "export it again: dvla-export MODEL -o BUNDLE --overwrite"


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle whose manifest was read; ``check_files`` looks at the rest."""

    path: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        """16 hex digits of a sha256 of everything that the bundle's actions depend on."""
        manifest = self.manifest
        parts = (manifest.source.sha256, manifest.policy, manifest.normalisation, manifest.files)
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]

    def graph(self, name: str) -> GraphSpec:
        """Return the declared tensors of a graph."""
        for graph in self.manifest.graphs:
            if graph.name == name:
                return graph
        raise BundleError(
            f"Bundle {self.path} has no graph {name}",
            choices=[graph.name for graph in self.manifest.graphs],
            next_command=_REBUILD,
        )

    def onnx_path(self, name: str) -> Path:
        """Return the ONNX file of a graph."""
        return self.path / "onnx" / f"{name}.onnx"

    def onnx_hashes(self) -> dict[str, str]:
        """Return the sha256 of every file of the graphs, by path in the bundle."""
        files = self.manifest.files
        return {file.path: file.sha256 for file in files if file.path.startswith("onnx/")}

    def check_files(self) -> None:
        """Raise a BundleError unless every file is present and is the one that was written."""
        checker = IntegrityChecker(self.path)
        for record in self.manifest.files:
            file = self.path / record.path
            if not file.is_file():
                raise BundleError(f"Bundle {self.path} lacks {record.path}", next_command=_REBUILD)
            size_bytes = file.stat().st_size
            if size_bytes != record.size_bytes:
                raise BundleError(
                    f"{file} is not the file that was exported",
                    got=f"{size_bytes} bytes",
                    expected=f"{record.size_bytes} bytes",
                    next_command=_REBUILD,
                )
            digest = checker.sha256(record.path)
            if digest != record.sha256:
                raise BundleError(
                    f"{file} was changed after it was exported",
                    got=f"sha256 {digest[:16]}...",
                    expected=f"sha256 {record.sha256[:16]}...",
                    next_command=_REBUILD,
                )
        checker.remember()


def read_bundle(path: Path | str) -> Bundle:
    """Read a bundle's manifest.

    Raises:
        BundleError: there is no bundle, or its manifest is damaged or of another schema version.
    """
    path = Path(path)
    manifest_path = path / MANIFEST_NAME
    try:
        encoded = manifest_path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(
            f"{path} is not a bundle",
            got="no such folder" if not path.exists() else f"no {MANIFEST_NAME} in it",
            expected=f"a folder with {MANIFEST_NAME}, as dvla-export writes it",
            next_command="dvla-export MODEL -o BUNDLE",
        ) from error
    _check_schema_version(manifest_path, encoded)
    try:
        manifest = msgspec.json.decode(encoded, type=Manifest)
    except (msgspec.DecodeError, ValueError) as error:
        raise BundleError(
            f"{manifest_path} is damaged", got=str(error), next_command=_REBUILD
        ) from error
    return Bundle(path=path, manifest=manifest)


def _check_schema_version(path: Path, encoded: bytes) -> None:
    """Raise a BundleError when the manifest is not JSON, or is of another schema version."""

    class Head(msgspec.Struct):
        schema_version: int

    try:
        version = msgspec.json.decode(encoded, type=Head).schema_version
    except msgspec.DecodeError as error:
        raise BundleError(f"{path} is damaged", got=str(error), next_command=_REBUILD) from error
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{path} was written by another version of dvla-export",
            got=f"schema version {version}",
            expected=f"schema version {SCHEMA_VERSION}",
            next_command=_REBUILD,
        )


def file_records(folder: Path) -> tuple[FileRecord, ...]:
    """Hash every file below a folder, the manifest apart."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST_NAME)
    return tuple(
        FileRecord(
            path=file.relative_to(folder).as_posix(),
            size_bytes=file.stat().st_size,
            sha256=sha256_file(file),
        )
        for file in found
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace a bundle's manifest in one step."""
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    write_atomically(folder / MANIFEST_NAME, encoded + b"\n", durable=True)


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise a UsageError when ``path`` may not become a bundle.

    Only a bundle, or an empty folder, is ever replaced: ``-o ~`` must not delete a home folder.
    """
    if not path.exists() and not path.is_symlink():
        return
    is_bundle = (path / MANIFEST_NAME).is_file()
    is_empty = path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    if is_empty or (is_bundle and overwrite):
        return
    if is_bundle:
        raise UsageError(
            f"Bundle {path} exists", next_command="add --overwrite, or choose another -o"
        )
    raise UsageError(
        f"{path} exists and is not a bundle, so it is not replaced",
        next_command="choose another -o",
    )


@contextmanager
def new_bundle(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a folder to build a bundle in; it becomes ``path`` when the block ends well.

    Whatever ends the block early (an error, Ctrl-C, a full disk) removes the folder. Folders that
    a killed export left behind are removed by the next one.
    """
    path = path.absolute()
    refuse_existing(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent, path.name)
    building = path.parent / f".{path.name}.partial-{os.getpid()}"
    building.mkdir()
    try:
        yield building
        _flush_tree(building)
        refuse_existing(path, overwrite)
        _install(building, path)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _install(building: Path, path: Path) -> None:
    """Give the finished folder its name, putting the bundle that had it aside first."""
    replaced = path.parent / f".{path.name}.replaced-{os.getpid()}"
    had_one = path.exists()
    with locked_folder(path) if had_one else nullcontext():
        if had_one:
            os.rename(path, replaced)
        try:
            os.rename(building, path)
        except BaseException:
            if had_one:
                os.rename(replaced, path)
            raise
    shutil.rmtree(replaced, ignore_errors=True)
    _flush(path.parent)


def _flush(path: Path) -> None:
    """Bring a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_tree(folder: Path) -> None:
    """Bring every file of a folder to the disk, so that a rename never precedes its content."""
    for file in folder.rglob("*"):
        if file.is_file():
            _flush(file)
