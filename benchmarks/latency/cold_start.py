"""Cold start: a fresh process, from its start to its first chunk."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from dvla.benchmarks.report.schema import ColdStart
from dvla.engines.errors import DvlaError

_TIMEOUT_S = 600.0


class ColdStartJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the child does: ``started_ns`` is when its parent started it, on the same clock."""

    bundle: str
    backend: str
    threads: int
    tokens: int
    started_ns: int


class ColdStartFailed(DvlaError):
    """The fresh process ended before its first chunk."""

    exit_code = 1


def measure_cold_start(bundle: Path, backend: str, threads: int, tokens: int) -> ColdStart:
    """Start a process that loads a bundle and infers once, and return when it got how far."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dvla.benchmarks.latency.cold_start"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    # The clock is read after the start, so that a busy parent is not counted; the child's own
    # start-up takes longer than this line.
    job = ColdStartJob(
        bundle=str(bundle),
        backend=backend,
        threads=threads,
        tokens=tokens,
        started_ns=time.monotonic_ns(),
    )
    try:
        told, _ = process.communicate(msgspec.json.encode(job), timeout=_TIMEOUT_S)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0:
        raise ColdStartFailed(
            "The cold start ended early",
            got=f"exit status {process.returncode}; its own message is above",
            next_command=f"dvla-bench latency {bundle} --backend {backend} --cold-starts 0",
        )
    return msgspec.json.decode(told, type=ColdStart)


def _child() -> int:
    """Load, infer once, and print when each was done."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=ColdStartJob)
    from dvla.runtime.policy import Policy

    imported_ns = time.monotonic_ns()
    policy = Policy.load(job.bundle, job.backend, threads=job.threads)
    loaded_ns, loaded_cpu_s = time.monotonic_ns(), time.process_time()
    # A robot has cameras and needs none of this.
    from dvla.benchmarks.fixtures import make_case

    case = make_case(policy.facts, job.tokens)
    made_ns, made_cpu_s = time.monotonic_ns() - loaded_ns, time.process_time() - loaded_cpu_s
    chunk = policy.predict(case.observation, noise=case.noise)
    first_ns, cpu_s = time.monotonic_ns() - made_ns, time.process_time() - made_cpu_s
    memory = memory_bytes(Path("/proc/self/status").read_text())
    found = ColdStart(
        imported_s=(imported_ns - job.started_ns) / 1e9,
        loaded_s=(loaded_ns - job.started_ns) / 1e9,
        first_chunk_s=(first_ns - job.started_ns) / 1e9,
        resident_bytes=memory.get("VmRSS", 0),
        resident_peak_bytes=memory.get("VmHWM", 0),
        anonymous_bytes=memory.get("RssAnon", 0),
        cpu_s=cpu_s,
        actions_sha256=hashlib.sha256(chunk.actions.tobytes()).hexdigest(),
    )
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return 0


def memory_bytes(status: str) -> dict[str, int]:
    """Return the sizes that a ``/proc/PID/status`` tells, in bytes."""
    sizes = {}
    for line in status.splitlines():
        key, _, value = line.partition(":")
        words = value.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            sizes[key] = int(words[0]) * 1024
    return sizes


if __name__ == "__main__":
    from dvla.engines.cli_errors import run_main

    sys.exit(run_main(_child))
