"""What this device does at best: a short probe of memory bandwidth and of matrix products."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dvla.benchmarks.report.machine import describe_bench_machine
from dvla.benchmarks.report.schema import Device

BUFFER_BYTES = 256 << 20
"""Beyond any last-level cache of today."""
MATRIX_SIDE = 2048
BLAS_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
"""Where the libraries behind NumPy read their number of threads."""
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
    rates = {"fp32": flops / numpy_product_s(threads, side)}
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


def numpy_product_s(threads: int, side: int) -> float:
    """Return how long NumPy takes for a product of square matrices [s].

    Args:
        threads: of it. BLAS is told when it is loaded, so that it takes a process of its own.
        side: of the matrices.
    """
    asked = [sys.executable, "-m", __name__, str(side)]
    environment = os.environ | dict.fromkeys(BLAS_THREADS, str(threads))
    return float(subprocess.run(asked, env=environment, check=True, stdout=subprocess.PIPE).stdout)


def _product_s(side: int) -> float:
    left, right = np.ones((side, side), np.float32), np.full((side, side), 0.5, np.float32)
    out = np.empty_like(left)
    return _best_s(lambda: np.matmul(left, right, out=out))


def _best_s(work: Callable[[], object]) -> float:
    """Return the shortest of a few durations of some work [s]; the first run is not counted."""
    work()
    durations_s = []
    for _ in range(_REPEATS):
        started_s = time.perf_counter()
        work()
        durations_s.append(time.perf_counter() - started_s)
    return max(min(durations_s), 1e-9)


if __name__ == "__main__":
    print(_product_s(int(sys.argv[1])))
