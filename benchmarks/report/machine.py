"""What a benchmark ran on: the machine manifest and the container's limits."""

from __future__ import annotations

import select
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import msgspec

from dvla.runtime.machine import Machine, describe_machine

FLAGS = (
    "avx2", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_tile",
    "amx_bf16", "amx_int8", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2",
)  # fmt: skip
LIBRARIES = ("torch", "openvino", "onnx", "tensorrt", "tensorrt_rtx", "pycuda", "triton")
_TOOL_TIMEOUT_S = 10.0


class Gpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One GPU as its driver describes it; clocks and memory with their units."""

    name: str
    driver: str
    memory: str
    sm_clock: str
    memory_clock: str
    power_limit: str


class BenchMachine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a benchmark ran.

    Attributes:
        base: the manifest that runs record too.
        flags: instruction sets that inference uses, of those the CPU has.
        last_level_cache_bytes: of one core's view; 0 when unknown.
        max_mhz: highest clock that the governor may choose; 0 when unknown.
        cpu_limit_cores: what the container grants, or None without a limit.
        memory_limit_bytes: of the container, or None without a limit.
        power_mode: of a board or laptop, "unknown" where nothing says.
        gpus: of the NVIDIA driver.
        libraries: versions of optional backends; ``base`` has those of the base install.
        board: model of a single board computer, as its firmware says; empty elsewhere.
        soc_clocks: current and highest clock of what the kernel scales (GPU, memory) [Hz].
        tegrastats: one line of a Jetson's own monitor: load, clocks, temperatures, power.
    """

    base: Machine
    flags: tuple[str, ...]
    last_level_cache_bytes: int
    max_mhz: float
    cpu_limit_cores: float | None
    memory_limit_bytes: int | None
    power_mode: str
    gpus: tuple[Gpu, ...]
    libraries: dict[str, str]
    board: str = ""
    soc_clocks: dict[str, str] = {}
    tegrastats: str = ""


def describe_bench_machine(root: Path = Path("/")) -> BenchMachine:
    """Return this machine's manifest; unknown parts are told as such, never raised.

    Args:
        root: where the kernel's files lie.
    """
    group = _cgroup(root)
    return BenchMachine(
        base=describe_machine(),
        flags=_flags(root),
        last_level_cache_bytes=_last_level_cache_bytes(root),
        max_mhz=_number(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq") / 1e3,
        cpu_limit_cores=cpu_limit_cores(root, group),
        memory_limit_bytes=memory_limit_bytes(root, group),
        power_mode=_power_mode(root),
        gpus=_gpus(),
        libraries=optional_versions(),
        board=_text(root / "proc/device-tree/model").strip("\0 \n"),
        soc_clocks=_soc_clocks(root),
        tegrastats=_first_line_of("tegrastats", "--interval", "100"),
    )


def cpu_limit_cores(root: Path, group: str) -> float | None:
    """Return the cores that the control group grants, of version 2 or 1."""
    for folder in (root / "sys/fs/cgroup" / group, root / "sys/fs/cgroup"):
        words = _text(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit():
            return int(words[0]) / int(words[1])
    quota = _number(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us")
    period = _number(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us")
    return quota / period if quota > 0 and period > 0 else None


def memory_limit_bytes(root: Path, group: str) -> int | None:
    """Return the memory that the control group grants, of version 2 or 1."""
    for folder in (root / "sys/fs/cgroup" / group, root / "sys/fs/cgroup"):
        word = _text(folder / "memory.max").strip()
        if word.isdigit():
            return int(word)
    limit = int(_number(root / "sys/fs/cgroup/memory/memory.limit_in_bytes"))
    # Version 1 says "unlimited" with a number close to 2**63.
    return limit if 0 < limit < 1 << 60 else None


def _flags(root: Path) -> tuple[str, ...]:
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            present = set(value.split())
            return tuple(flag for flag in FLAGS if flag in present)
    return ()


def _last_level_cache_bytes(root: Path) -> int:
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    sizes = [0]
    for index in (root / "sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = _text(index).strip()
        if text[:-1].isdigit() and text[-1] in units:
            sizes.append(int(text[:-1]) * units[text[-1]])
    return max(sizes)


def _cgroup(root: Path) -> str:
    """Return this process's group in the version 2 hierarchy, relative to its root."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        if line.startswith("0::"):
            return line[3:].strip("/ ")
    return ""


def _power_mode(root: Path) -> str:
    told = _tool("nvpmodel", "-q")
    if told:
        return " ".join(told.split())
    return _text(root / "sys/firmware/acpi/platform_profile").strip() or "unknown"


def _soc_clocks(root: Path) -> dict[str, str]:
    """Return current and highest clock of every device whose clock the kernel scales."""
    found = {}
    for folder in sorted((root / "sys/class/devfreq").glob("*")):
        now, most = (_text(folder / name).strip() for name in ("cur_freq", "max_freq"))
        if now:
            found[folder.name] = f"{now} of {most or 'unknown'}"
    return found


def _gpus() -> tuple[Gpu, ...]:
    fields = "name,driver_version,memory.total,clocks.sm,clocks.mem,power.limit"
    told = _tool("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader")
    rows = [[word.strip() for word in line.split(",")] for line in told.splitlines()]
    return tuple(
        Gpu(
            name=row[0],
            driver=row[1],
            memory=row[2],
            sm_clock=row[3],
            memory_clock=row[4],
            power_limit=row[5],
        )
        for row in rows
        if len(row) == 6
    )


def gpu_clocks() -> str:
    """Return what the driver says of clocks, power and heat right now; nothing without a GPU."""
    fields = "clocks.sm,clocks.mem,power.draw,temperature.gpu,clocks_event_reasons.active"
    told = _tool("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader")
    return told.strip()


def optional_versions() -> dict[str, str]:
    """Return the versions of the optional libraries that are installed, without importing them."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _tool(name: str, *arguments: str) -> str:
    """Return what a tool of the system prints, or nothing where it is missing or fails."""
    path = shutil.which(name)
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _first_line_of(name: str, *arguments: str) -> str:
    """Return the first line of a tool that prints until it is ended, or nothing."""
    path = shutil.which(name)
    if path is None:
        return ""
    try:
        with subprocess.Popen(
            [path, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as tool:
            assert tool.stdout is not None  # It is a pipe.
            ready, _, _ = select.select([tool.stdout], [], [], _TOOL_TIMEOUT_S)
            line = tool.stdout.readline() if ready else ""
            tool.kill()
    except OSError:
        return ""
    return line.strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> float:
    try:
        return float(_text(path))
    except ValueError:
        return 0.0
