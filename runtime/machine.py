"""The machine manifest: what a measured number was measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import msgspec

LIBRARIES = (
    "numpy",
    "msgspec",
    "pyzmq",
    "onnxruntime",
    "openvino",
    "torch",
    "tokenizers",
    "mujoco",
    "av",
)


class Machine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a run took place.

    Attributes:
        cores: processors that this process may use, not those of the board.
        governor: CPU frequency policy, or "unknown" where the kernel does not say.
        load_1m: load average when the run began; above ``cores`` the timings are not the machine's.
    """

    cpu: str
    cores: int
    governor: str
    memory_bytes: int
    load_1m: float
    kernel: str
    architecture: str
    python: str
    libraries: dict[str, str]


def describe_machine() -> Machine:
    """Return this machine's manifest; unknown parts are told as such, never raised."""
    return Machine(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)),
        governor=_first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        load_1m=round(os.getloadavg()[0], 2),
        kernel=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        python=platform.python_version(),
        libraries=library_versions(),
    )


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that shape a run, without importing them."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _cpu_name() -> str:
    """Return the processor's name; ARM kernels print none, the device tree names the board."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return _first_line("/proc/device-tree/model")


def _first_line(path: str) -> str:
    """Return the first line of a small kernel file, or "unknown"."""
    try:
        return Path(path).read_text().split("\n")[0].strip("\0 ") or "unknown"
    except OSError:
        return "unknown"
