"""Bundles appear whole or not at all, and a changed file is never run."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from bundle_tools import copy_of_tiny_bundle, edit_manifest, tiny_bundle

from dvla.engines import bundle as bundles
from dvla.engines import integrity
from dvla.engines.bundle import new_bundle, read_bundle
from dvla.engines.errors import BundleError, UsageError


def make_bundle(path: Path, content: str = "{}", overwrite: bool = False) -> None:
    with new_bundle(path, overwrite=overwrite) as building:
        (building / "manifest.json").write_text(content)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError])
def test_an_interrupted_build_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_bundle(tmp_path / "b") as building:
        (building / "onnx").mkdir()
        (building / "onnx" / "half.onnx").write_bytes(b"half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_overwrite_keeps_the_old_bundle(tmp_path: Path) -> None:
    make_bundle(tmp_path / "b", "old")
    with pytest.raises(KeyboardInterrupt), new_bundle(tmp_path / "b", overwrite=True):
        raise KeyboardInterrupt
    assert (tmp_path / "b" / "manifest.json").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failed_rename_puts_the_old_bundle_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bundle(tmp_path / "b", "old")
    rename = os.rename

    def failing(source: Path, target: Path) -> None:
        if ".partial-" in Path(source).name:
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(bundles.os, "rename", failing)
    with pytest.raises(OSError, match="no"):
        make_bundle(tmp_path / "b", "new", overwrite=True)
    assert (tmp_path / "b" / "manifest.json").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_bundle_is_locked_while_another_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bundle(tmp_path / "b", "old")
    rename, renamed = os.rename, []

    def watched(source: Path, target: Path) -> None:
        rename(source, target)
        renamed.append(target)
        if len(renamed) == 1:
            old = os.open(target, os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(old)

    monkeypatch.setattr(bundles.os, "rename", watched)
    make_bundle(tmp_path / "b", "new", overwrite=True)
    assert len(renamed) == 2


def test_only_bundles_are_replaced_and_only_when_asked(tmp_path: Path) -> None:
    make_bundle(tmp_path / "b", "old")
    with pytest.raises(UsageError, match="--overwrite"):
        make_bundle(tmp_path / "b", "new")
    make_bundle(tmp_path / "b", "new", overwrite=True)
    assert (tmp_path / "b" / "manifest.json").read_text() == "new"
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not a bundle"):
        make_bundle(home, "new", overwrite=True)
    assert (home / "thesis.tex").exists()


def test_folders_of_killed_exports_are_removed(tmp_path: Path) -> None:
    dead = tmp_path / ".b.partial-4194399"  # Above the largest process id of Linux.
    alive = tmp_path / f".b.partial-{os.getppid()}"
    dead.mkdir()
    alive.mkdir()
    make_bundle(tmp_path / "b")
    assert not dead.exists()
    assert alive.exists()


def test_a_missing_bundle_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no such folder.*dvla-export"):
        read_bundle(tmp_path / "none")
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"schema_version": 99}', "schema version 99.*Expected schema version 2"),
        ('{"schema_version": 2}', "damaged.*missing required field"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=message):
        read_bundle(tmp_path)


def test_unknown_keys_and_paths_out_of_the_bundle_are_refused(tmp_path: Path) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)
    edit_manifest(bundle, lambda m: m["files"][0].update(path="../manifest.json"))
    with pytest.raises(BundleError, match="leaves the bundle"):
        read_bundle(bundle)
    bundle = copy_of_tiny_bundle(tmp_path / "second")
    edit_manifest(bundle, lambda m: m.update(surprise=1))
    with pytest.raises(BundleError, match="surprise"):
        read_bundle(bundle)


def test_the_exported_bundle_is_whole() -> None:
    read_bundle(tiny_bundle()).check_files()


@pytest.mark.parametrize("name", ["onnx/prefix.onnx", "onnx/step.onnx.data", "tokenizer.json"])
def test_an_edited_a_truncated_and_a_missing_file_are_refused(tmp_path: Path, name: str) -> None:
    bundle = read_bundle(copy_of_tiny_bundle(tmp_path))
    file = bundle.path / name
    content = file.read_bytes()
    edited = bytearray(content)
    edited[len(edited) // 2] ^= 1
    file.write_bytes(edited)
    with pytest.raises(BundleError, match="was changed after it was exported"):
        bundle.check_files()
    file.write_bytes(content[:-1])
    with pytest.raises(BundleError, match="not the file that was exported"):
        bundle.check_files()
    file.unlink()
    with pytest.raises(BundleError, match=f"lacks {name}"):
        bundle.check_files()


def test_stamps_spare_hashing_but_never_hide_an_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "ALWAYS_HASHED_BELOW_BYTES", 0)
    monkeypatch.setattr(integrity, "SETTLED_NS", -1)
    hashed: list[str] = []
    real = integrity.sha256_file
    monkeypatch.setattr(integrity, "sha256_file", lambda p: (hashed.append(p.name), real(p))[1])
    bundle = read_bundle(copy_of_tiny_bundle(tmp_path))
    bundle.check_files()
    assert len(hashed) == len(bundle.manifest.files)
    bundle.check_files()
    assert len(hashed) == len(bundle.manifest.files)

    file = bundle.path / "onnx" / "step.onnx.data"
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # Size and mtime as before.
    with pytest.raises(BundleError, match="was changed"):
        bundle.check_files()
