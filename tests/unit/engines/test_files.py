"""A locked folder has one owner, and it is the folder that has the name."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from dvla.engines.files import locked_folder, remove_abandoned


def is_locked(folder: Path) -> bool:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def test_a_folder_is_locked_until_the_block_ends(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), locked_folder(tmp_path):
        assert is_locked(tmp_path)
        raise KeyboardInterrupt
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_whoever_waited_locks_the_folder_that_took_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, flock = tmp_path / "b", fcntl.flock
    folder.mkdir()

    def replaced_meanwhile(handle: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        folder.rename(tmp_path / "old")
        folder.mkdir()
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", replaced_meanwhile)
    with locked_folder(folder):
        assert is_locked(folder)
        assert not is_locked(tmp_path / "old")


def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_handle: int, _operation: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked_folder(tmp_path):
        pass
    with pytest.raises(FileNotFoundError), locked_folder(tmp_path / "none"):
        pass


def test_only_what_gone_processes_left_is_removed(tmp_path: Path) -> None:
    for name in (".a.partial-4194399", f".a.partial-{os.getppid()}", ".b.partial-4194399", "a"):
        (tmp_path / name).touch()
    remove_abandoned(tmp_path, "a")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f".a.partial-{os.getppid()}", ".b.partial-4194399", "a"}
