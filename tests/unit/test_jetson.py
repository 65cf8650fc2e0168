"""Installing on a Jetson: wheels for aarch64 exist, and what is missing is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dvla.benchmarks.report.machine import describe_bench_machine

ROOT = Path(__file__).resolve().parents[2]
PLATFORMS = ("2_35", "2_34", "2_31", "2_28", "2_27", "2_26", "2_24", "2_17")
# It has no wheels anywhere: it is compiled against JetPack's CUDA. Its own needs are wheels.
COMPILED = "pycuda"
ITS_NEEDS = ("pytools", "platformdirs", "mako")


def requirements() -> list[str]:
    """Return the base requirements and those of the tensorrt extra."""
    tomllib: Any = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [*project["dependencies"], *project["optional-dependencies"]["tensorrt"]]
    assert any(each.startswith(COMPILED) for each in found)
    return [*(each for each in found if not each.startswith(COMPILED)), *ITS_NEEDS]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.12"])
def test_everything_resolves_to_wheels_for_aarch64(version: str) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "0"]
    command = [*pip, "install", "--dry-run", "--quiet", "--ignore-installed", "--report", "-"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", version]
    command += ["--target", "/nowhere", "--timeout", "20"]
    command += [word for p in PLATFORMS for word in ("--platform", f"manylinux_{p}_aarch64")]
    command += ["--platform", "manylinux2014_aarch64"]
    done = subprocess.run([*command, *requirements()], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        alone = [*command, "--no-deps", "numpy"]
        if subprocess.run(alone, capture_output=True, check=False).returncode != 0:
            pytest.skip("no package index can be reached here")
    assert done.returncode == 0, done.stderr
    wheels = [
        item["download_info"]["url"].rsplit("/", 1)[-1]
        for item in msgspec.json.decode(done.stdout.encode())["install"]
    ]
    assert len(wheels) > len(requirements())
    for wheel in wheels:
        assert wheel.endswith(".whl") and ("aarch64" in wheel or "-any" in wheel), wheel
        assert not wheel.startswith(("tensorrt", "nvidia", "torch")), wheel


def script(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{content}\n")
    path.chmod(0o755)


def check(folder: Path, python: str = "exec " + sys.executable + ' "$@"') -> tuple[int, str]:
    """Run the checks of the installation on a board that lies in a folder."""
    script(folder / "bin" / "python", python)
    environment = os.environ | {
        "DVLA_ROOT": str(folder),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
    }
    command = [str(ROOT / "scripts/setup-jetson"), "python", str(folder / "venv"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return done.returncode, done.stdout + done.stderr


def test_each_missing_part_of_a_jetson_is_named_with_its_cure(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "uname", "echo x86_64")
    status, said = check(tmp_path)
    assert status == 3 and "its processor is x86_64" in said and "Next: make setup" in said
    script(tmp_path / "bin" / "uname", "echo aarch64")
    status, said = check(tmp_path)
    assert status == 3 and "no Jetson Linux" in said
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nv_tegra_release").write_text("# R36 (release)")
    status, said = check(tmp_path, "echo 3.8")
    assert status == 3 and "Python 3.8" in said
    without = 'case "$2" in *sys.version*) echo 3.10 ;; *tensorrt*) exit 1 ;; esac'
    status, said = check(tmp_path, without)
    assert status == 3 and "finds no TensorRT" in said and "nvidia-jetpack" in said
    board = 'case "$2" in *sys.version*) echo 3.10 ;; *print*) echo 10.3.0 ;; esac'
    status, said = check(tmp_path, board)
    assert status == 3 and "bin/nvcc is not here" in said
    script(tmp_path / "usr/local/cuda/bin/nvcc", "echo Cuda compilation tools, release 12.6, V1")
    status, said = check(tmp_path, board)
    assert (status, said) == (0, "setup: Python 3.10, CUDA 12.6, TensorRT 10.3.0\n")
    assert not (tmp_path / "venv").exists()


def test_the_manifest_has_power_and_clocks_of_a_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "bin" / "nvpmodel", 'echo "NV Power Mode: MAXN"; echo 0')
    script(
        tmp_path / "bin" / "tegrastats", 'while true; do echo "RAM 1/2MB VDD_IN 5W"; sleep 1; done'
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for name, now, most in (("17000000.gpu", "306000000", "930750000"), ("emc", "2", "")):
        folder = tmp_path / "sys/class/devfreq" / name
        folder.mkdir(parents=True)
        (folder / "cur_freq").write_text(f"{now}\n")
        (folder / "max_freq").write_text(most)
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(b"NVIDIA Jetson AGX Orin\0")
    machine = describe_bench_machine(tmp_path)
    assert machine.power_mode == "NV Power Mode: MAXN 0"
    assert machine.tegrastats == "RAM 1/2MB VDD_IN 5W"
    assert machine.board == "NVIDIA Jetson AGX Orin"
    assert machine.soc_clocks == {"17000000.gpu": "306000000 of 930750000", "emc": "2 of unknown"}


def test_a_machine_that_is_no_board_has_none_of_it(tmp_path: Path) -> None:
    machine = describe_bench_machine(tmp_path)
    assert (machine.board, machine.soc_clocks, machine.tegrastats) == ("", {}, "")
