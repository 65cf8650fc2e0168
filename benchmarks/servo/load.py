"""A load that saturates the cores: an engine that infers without pause, niced as in a run."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import DvlaError
from dvla.runtime.clock import monotonic_ns
from dvla.runtime.processes.table import PROCESSES


class LoadFailed(DvlaError):
    """The engine of the load ended early."""

    exit_code = 1


class LoadJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which engine infers, with how many threads, and the file that takes begin and end [ns]."""

    bundle: str
    backend: str
    threads: int
    times: str = ""


@contextmanager
def engine_load(job: LoadJob) -> Iterator[None]:
    """Keep an engine busy in another process while the block runs.

    Raises:
        LoadFailed: the engine does not start, or has died meanwhile.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "dvla.benchmarks.servo.load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        process.stdin.flush()
        _require(process.stdout.readline() == b"ready\n", process)
        yield
        _require(process.poll() is None, process)
    finally:
        # The child ends when its standard input does, however this process ends.
        process.stdin.close()
        process.stdout.close()
        process.wait()


@contextmanager
def timed_engine(job: LoadJob) -> Iterator[Callable[[int, int], NDArray[np.float64]]]:
    """Keep an engine busy; yields what tells the latencies [ms] of a stretch of time [ns].

    Inferences that began before it, or ended after it, are not among them.
    """
    with TemporaryDirectory(prefix="dvla-bench-") as folder:
        times = Path(folder) / "times"
        times.touch()
        with engine_load(msgspec.structs.replace(job, times=str(times))):

            def since(begin_ns: int, end_ns: int) -> NDArray[np.float64]:
                spans = np.fromfile(times, np.int64)
                spans = spans[: len(spans) // 2 * 2].reshape(-1, 2)
                inside = (spans[:, 0] >= begin_ns) & (spans[:, 1] <= end_ns)
                took: NDArray[np.float64] = (spans[inside, 1] - spans[inside, 0]) / 1e6
                return took

            yield since


def _require(condition: bool, process: subprocess.Popen[bytes]) -> None:
    if not condition:
        raise LoadFailed(
            "The engine that makes the load ended early",
            got=f"exit status {process.poll()}; its own message is above",
            next_command="dvla-bench servo --load idle",
        )


def _child() -> int:
    """Infer until standard input ends."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=LoadJob)
    from dvla.benchmarks.fixtures import make_case
    from dvla.runtime.policy import Policy

    os.nice(PROCESSES["policy"].nice)
    policy = Policy.load(Path(job.bundle), job.backend, threads=job.threads)
    case = make_case(policy.facts)
    print("ready", flush=True)
    with open(job.times or os.devnull, "ab", buffering=0) as times:
        while not select.select([sys.stdin], [], [], 0)[0]:
            begin_ns = monotonic_ns()
            policy.predict(case.observation, noise=case.noise)
            times.write(np.array([begin_ns, monotonic_ns()]).tobytes())
    return 0


if __name__ == "__main__":
    from dvla.engines.cli_errors import run_main

    sys.exit(run_main(_child))
