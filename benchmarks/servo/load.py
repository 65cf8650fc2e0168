"""A load that saturates the cores: an engine that infers without pause, niced as in a run."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from dvla.engines.errors import DvlaError
from dvla.runtime.processes.table import PROCESSES


class LoadFailed(DvlaError):
    """The engine of the load ended early."""

    exit_code = 1


class LoadJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which engine infers, and with how many threads."""

    bundle: str
    backend: str
    threads: int


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
    while not select.select([sys.stdin], [], [], 0)[0]:
        policy.predict(case.observation, noise=case.noise)
    return 0


if __name__ == "__main__":
    from dvla.engines.cli_errors import run_main

    sys.exit(run_main(_child))
