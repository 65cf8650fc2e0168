"""The linker's environment on a GPU host, with a toolkit and a driver that are made up."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dvla.engines.errors import MissingDependency
from dvla.export import cuda_toolkit
from dvla.export.cuda_toolkit import driver_path, linking, prepare_to_link


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_HOME", "LIBRARY_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def toolkit(tmp_path: Path) -> Path:
    (tmp_path / "cuda" / "lib64" / "stubs").mkdir(parents=True)
    return tmp_path / "cuda"


def empty_library(folder: Path, path: Path) -> Path:
    """Compile a shared library without content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "x.cpp").write_text("int x;")
    subprocess.run(["g++", "-shared", "-fPIC", folder / "x.cpp", "-o", path], check=True)
    return path


def test_stubs_come_first_then_the_driver_then_what_was_there(
    toolkit: Path, tmp_path: Path
) -> None:
    driver = tmp_path / "driver" / "libcuda.so.1"
    found = linking(toolkit, driver, tmp_path, {"LIBRARY_PATH": "/opt/a:/opt/b"})
    assert found["CUDA_HOME"] == str(toolkit)
    assert found["LIBRARY_PATH"].split(":") == [
        str(toolkit / "lib64/stubs"), str(cuda_toolkit.DRIVER_FOLDER), str(driver.parent),
        str(tmp_path / "driver"), "/opt/a", "/opt/b",
    ]  # fmt: skip
    without = linking(toolkit, None, tmp_path, {"CUDA_HOME": "/chosen"})
    assert without["CUDA_HOME"] == "/chosen"
    assert without["LIBRARY_PATH"] == f"{toolkit}/lib64/stubs:/usr/local/nvidia/lib64"


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("place", ["stubs", "driver"])
def test_the_linker_finds_libcuda_in_either_place(
    toolkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(cuda_toolkit, "DRIVER_FOLDER", tmp_path / "none")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    if place == "stubs":
        empty_library(tmp_path, toolkit / "lib64" / "stubs" / "libcuda.so")
        monkeypatch.setattr(cuda_toolkit, "driver_path", lambda: None)
    else:  # A driver alone has no name that a linker looks for.
        driver = empty_library(tmp_path, tmp_path / "nvidia" / "libcuda.so.1")
        monkeypatch.setattr(cuda_toolkit, "driver_path", lambda: driver)
    command = ["g++", "-shared", "-fPIC", "x.cpp", "-o", "y.so", f"-L{toolkit}/lib64", "-lcuda"]

    def link() -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stderr

    assert "cannot find -lcuda" in link()
    prepare_to_link(str(toolkit), scratch)
    assert os.environ["CUDA_HOME"] == str(toolkit) and link() == ""


def test_no_toolkit_is_a_missing_dependency(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match=r"CUDA toolkit.*CUDA_HOME") as raised:
        prepare_to_link(None, tmp_path)
    assert raised.value.exit_code == 3


def test_the_driver_is_the_one_in_use_or_the_one_that_lies_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = tmp_path / "maps"
    maps.write_text("7f00-7f01 rw-p 00000000 00:00 0 \n")
    monkeypatch.setattr(cuda_toolkit, "_MAPPED", maps)
    assert driver_path((tmp_path,)) is None
    (tmp_path / "libcuda.so.1").touch()
    assert driver_path((tmp_path,)) == tmp_path / "libcuda.so.1"
    maps.write_text("7f00-7f01 r-xp 00000000 08:01 42    /usr/lib/x/libcuda.so.580.1\n")
    assert driver_path((tmp_path,)) == Path("/usr/lib/x/libcuda.so.580.1")
