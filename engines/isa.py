"""The instruction sets of this processor that compiled code and its rounding depend on."""

from __future__ import annotations

import platform
from pathlib import Path

# Other flags do not matter.
_ISA_FLAGS = (
    "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve", "sme", "bf16",
)  # fmt: skip


def cpu_capability() -> str:
    """Return the architecture and the instruction sets, in a fixed order."""
    return " ".join((platform.machine(), *_isa()))


def _isa() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    flags = next(
        (set(x.split()) for x in lines if x.lower().startswith(("flags", "features"))), set()
    )
    return [flag for flag in _ISA_FLAGS if flag in flags]
