"""What this device does at best: a short probe of memory bandwidth and of matrix products."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dvla.benchmarks.report.machine import describe_bench_machine
from dvla.benchmarks.report.schema import Device

BUFFER_BYTES = 256 << 20
"""Beyond any last-level cache of today."""
MATRIX_SIDE = 2048
_REPEATS = 5


def probe_device(
    threads: int, *, buffer_bytes: int = BUFFER_BYTES, matrix_side: int = MATRIX_SIDE
) -> Device:
    """Measure the device with as many threads as the subjects have.

    The best of a few repetitions counts: a floor must be one that nothing goes below.

    Args:
        threads: that read memory and multiply.
        buffer_bytes: memory that is read.
        matrix_side: of the square matrices that are multiplied.
    """
    return Device(
        threads=threads,
        bandwidth_bytes_per_s=read_bandwidth(threads, buffer_bytes),
        flops_per_s=matrix_rates(threads, matrix_side),
        cache_bytes=describe_bench_machine().last_level_cache_bytes,
    )


def read_bandwidth(threads: int, buffer_bytes: int) -> float:
    """Return bytes per second that threads read from memory together."""
    parts = np.array_split(np.ones(buffer_bytes // 4, np.float32), threads)
    # A maximum is vectorised, releases the GIL, and has nothing to wait for but the memory.
    with ThreadPoolExecutor(threads) as pool:
        return sum(part.nbytes for part in parts) / _best_s(
            lambda: list(pool.map(lambda part: part.max(), parts))
        )


def matrix_rates(threads: int, side: int) -> dict[str, float]:
    """Return operations per second of square matrix products, by precision.

    float32 is the better of NumPy's and torch's; bfloat16 needs torch and is absent without it.
    """
    flops = 2.0 * side**3
    left = np.ones((side, side), np.float32)
    right = np.full((side, side), 0.5, np.float32)
    out = np.empty_like(left)
    rates = {"fp32": flops / _best_s(lambda: np.matmul(left, right, out=out))}
    try:
        import torch
    except ImportError:
        return rates
    torch.set_num_threads(threads)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = torch.from_numpy(left).to(dtype), torch.from_numpy(right).to(dtype)
        with torch.inference_mode():
            rate = flops / _best_s(lambda a=a, b=b: torch.mm(a, b))  # type: ignore[misc]
        rates[name] = max(rates.get(name, 0.0), rate)
    return rates


def _best_s(work: Callable[[], object]) -> float:
    """Return the shortest of a few durations of some work [s]; the first run is not counted."""
    work()
    durations_s = []
    for _ in range(_REPEATS):
        started_s = time.perf_counter()
        work()
        durations_s.append(time.perf_counter() - started_s)
    return max(min(durations_s), 1e-9)
