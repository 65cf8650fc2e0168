"""What else the host has: disk, OpenGL, extras, GPU, limits of a container."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from dvla.runtime.preflight.finding import Finding, ok

GIB = 1 << 30
MIN_FREE = 5 * GIB
PROBE_BYTES = 64 << 20
MIN_WRITE_BYTES_S = 20e6
"""The recorder writes about 1 MB/s with video; images at full rate are some 26 MB/s."""
EXTRAS = {
    "sim": ("mujoco", "av"),
    "export": ("torch", "onnx", "onnxscript", "safetensors"),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt", "tensorrt_rtx"),
    "piper": ("can",),
    "train": ("pyarrow",),
}
ANY_OF = {"tensorrt"}
"""Extras for which one of the modules is enough."""
INSTALLED_AS = {"can": "python-can", "tensorrt_rtx": "tensorrt-rtx-cu13"}
GL_TIMEOUT_S = 60.0
OLDEST_PYTHON, FIRST_UNKNOWN_PYTHON = (3, 10), (3, 13)


def check_python() -> Finding:
    """Is this a Python that DVLA is made for?"""
    version = platform.python_version()
    if OLDEST_PYTHON <= sys.version_info[:2] < FIRST_UNKNOWN_PYTHON:
        return ok("Python", f"{version} on {platform.machine()}")
    return Finding(
        check="Python", level="fail", got=version, expected="3.10 to 3.12",
        next_command="make PYTHON=python3.11 setup",
    )  # fmt: skip


def check_extensions() -> Finding:
    """Are the compiled parts there?"""
    try:
        import dvla.bindings  # noqa: F401
    except ImportError as error:
        return Finding(
            check="compiled extensions", level="fail", got=str(error).split("\n", 1)[0],
            expected="the extensions of dvla.bindings", next_command="pip install -e .",
        )  # fmt: skip
    return ok("compiled extensions", "found")


def check_extras(has: Callable[[str], bool] | None = None) -> list[Finding]:
    """Which extras are installed, in which versions? None of them is required."""
    has = has or (lambda module: find_spec(module) is not None)
    findings = []
    for extra, modules in EXTRAS.items():
        found = [module for module in modules if has(module)]
        complete = bool(found) if extra in ANY_OF else len(found) == len(modules)
        versions = ", ".join(f"{module} {_version(module)}".strip() for module in found)
        if complete:
            findings.append(ok(f"extra {extra}", versions))
        else:
            lacking = ", ".join(module for module in modules if module not in found)
            findings.append(
                Finding(
                    check=f"extra {extra}",
                    level="skipped",
                    got=f"not installed ({lacking}): pip install 'dvla[{extra}]'",
                )
            )
    return findings


def check_disk(folder: Path) -> list[Finding]:
    """Is there room where runs are recorded, and is it fast enough?"""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    told = f"{free / GIB:.1f} GiB free at {place}"
    if free >= MIN_FREE:
        space = ok("disk space", told)
    else:
        space = Finding(
            check="disk space", level="fail" if free < GIB else "warn", got=told,
            expected="5 GiB or more",
            next_command="free some space, or record elsewhere: dvla-run --out FOLDER",
        )  # fmt: skip
    return [space, _write_speed(place, free)]


def _write_speed(place: Path, free: int) -> Finding:
    name = "disk speed"
    if free < 4 * PROBE_BYTES:
        return Finding(check=name, level="warn", got="not measured: too little space left")
    path = place / f".dvla-doctor-{os.getpid()}"
    block = os.urandom(1 << 20)
    worst_s, started = 0.0, time.perf_counter()
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(PROBE_BYTES >> 20):
                begun = time.perf_counter()
                file.write(block)
                worst_s = max(worst_s, time.perf_counter() - begun)
            os.fsync(file.fileno())
    except OSError as error:
        return Finding(
            check=name, level="fail", got=f"{place}: {error.strerror}",
            expected="a folder that may be written to", next_command="dvla-run --out FOLDER",
        )  # fmt: skip
    finally:
        path.unlink(missing_ok=True)
    speed = PROBE_BYTES / (time.perf_counter() - started)
    got = f"{speed / 1e6:.0f} MB/s, slowest megabyte {1e3 * worst_s:.0f} ms"
    if speed >= MIN_WRITE_BYTES_S:
        return ok(name, got)
    return Finding(
        check=name, level="warn", got=got, expected="20 MB/s or more",
        next_command="record on another disk: dvla-run --out FOLDER",
    )  # fmt: skip


def check_opengl() -> Finding:
    """Can the twin's cameras render off screen? Tried in a process of its own: some drivers die."""
    name = "OpenGL (twin)"
    if find_spec("mujoco") is None:
        return Finding(check=name, level="skipped", got="the extra sim is not installed")
    code = "from dvla.runtime.twin.gl import open_gl; print(open_gl(64, 64)[0])"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=GL_TIMEOUT_S,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Finding(check=name, level="warn", got=f"no answer in {GL_TIMEOUT_S:.0f} s")
    if done.returncode == 0:
        return ok(name, f"off-screen rendering by {done.stdout.strip()}")
    return Finding(
        check=name, level="warn", got=(done.stderr.strip().split("\n") or [""])[-1],
        expected="EGL or OSMesa, for the cameras of the twin",
        next_command="apt-get install libegl1 libegl-mesa0 libgl1, or libosmesa6 libgl1",
    )  # fmt: skip


def check_gpu() -> Finding:
    """Is there a GPU, by its own tool?"""
    tool = shutil.which("nvidia-smi")
    if tool:
        query = "--query-gpu=name,driver_version,memory.total"
        try:
            done = subprocess.run(
                [tool, query, "--format=csv,noheader"], capture_output=True, text=True,
                timeout=15, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return Finding(check="GPU", level="warn", got="nvidia-smi does not answer")
        if done.returncode == 0 and done.stdout.strip():
            return ok("GPU", done.stdout.strip().replace("\n", "; "))
        return Finding(
            check="GPU", level="warn", got=(done.stdout + done.stderr).strip()[:120],
            expected="a working driver", next_command="install the driver, or reboot after it",
        )  # fmt: skip
    board = Path("/proc/device-tree/model")
    if board.exists():
        return ok("GPU", board.read_text().strip("\0 \n"))
    return Finding(check="GPU", level="skipped", got="none found: engines run on the CPU")


def check_container(root: Path = Path("/sys/fs/cgroup")) -> Finding:
    """Is this process limited from outside?"""
    name = "container limits"
    told = []
    quota = _read(root / "cpu.max").split()
    if len(quota) == 2 and quota[0] != "max":
        told.append(f"{int(quota[0]) / int(quota[1]):.1f} CPUs by quota")
    memory = _read(root / "memory.max")
    if memory.isdigit():
        told.append(f"{int(memory) / GIB:.1f} GiB of memory")
    inside = Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()
    where = "in a container" if inside else "not in a known container"
    if not told:
        return ok(name, f"none, {where}")
    return Finding(
        check=name, level="warn" if "quota" in told[0] else "ok",
        got=f"{', '.join(told)}, {where}",
        expected="no CPU quota: it stops every process at the end of its share",
        next_command="docker run without --cpus; --cpuset-cpus is harmless",
    )  # fmt: skip


def _version(module: str) -> str:
    try:
        return metadata.version(INSTALLED_AS.get(module, module))
    except metadata.PackageNotFoundError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
