"""What a killed process left of a package is removed, and nothing else."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path

import pytest

from dvla.engines import torch_unpacked
from dvla.engines.torch_unpacked import remove_abandoned

INSIDE = "prefix/data/aotinductor/model"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for temporary files, in which nothing is too young to be removed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(torch_unpacked, "SETTLED_S", -1.0)
    monkeypatch.setattr(torch_unpacked, "PLACES", ())
    return tmp_path


def unpacked(place: Path, name: str, inside: str = INSIDE) -> Path:
    """Make what the loader unpacks; return its shared library."""
    folder = place / name / inside
    folder.mkdir(parents=True)
    library = folder / "x.wrapper.so"
    library.write_bytes(b"\x7fELF" + bytes(5000))
    return library


@pytest.mark.parametrize("name", ["aotinductor_B2UgZO", "bHZBos"])
def test_what_no_process_maps_is_removed(place: Path, name: str) -> None:
    unpacked(place, name)
    remove_abandoned()
    assert not (place / name).exists()


def test_what_a_process_maps_stays(place: Path) -> None:
    library = unpacked(place, "aotinductor_B2UgZO")
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        remove_abandoned()
        assert library.exists()
    remove_abandoned()
    assert not library.exists()


def test_what_may_still_be_unpacked_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_unpacked, "SETTLED_S", 300.0)
    library = unpacked(place, "aotinductor_B2UgZO")
    remove_abandoned()
    assert library.exists()


def test_what_is_no_unpacked_package_stays(place: Path) -> None:
    others = [
        unpacked(place, "aotinductor_B2UgZO1"),
        unpacked(place, "my.dir"),
        unpacked(place, "photos", "2024/summer"),
        unpacked(place, "mixed1"),
        unpacked(place / "elsewhere", "bHZBos"),
    ]
    (place / "mixed1" / "mine.txt").write_text("kept")
    (place / "linked").symlink_to(place / "elsewhere" / "bHZBos")
    remove_abandoned()
    assert all(each.exists() for each in others)


def test_all_stays_where_a_python_does_not_tell_what_it_maps(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, process = unpacked(place, "aotinductor_B2UgZO"), place / "proc" / "7"
    process.mkdir(parents=True)
    monkeypatch.setattr(torch_unpacked, "PROCESSES", place / "proc")
    real = Path.read_text

    def read(path: Path, *args: str, **options: str) -> str:
        if path.name == "maps":
            raise PermissionError(path)
        return real(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", read)
    (process / "status").write_text(f"Name:\tx\nUid:\t{os.getuid()}\t0\t0\t0\n")
    (process / "cmdline").write_bytes(b"/usr/bin/python3\0-m\0x")
    remove_abandoned()
    assert library.exists()
    (process / "cmdline").write_bytes(b"ssh-agent\0")
    remove_abandoned()
    assert not library.exists()
