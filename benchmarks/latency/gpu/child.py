"""One subject, in its own process: what it finds is on the disk as soon as it is known.

python -m dvla.benchmarks.latency.gpu.child JOB     (JSON)
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from dvla.benchmarks.latency.cold_start import measure_cold_start, memory_bytes
from dvla.benchmarks.latency.gpu.schema import GpuSubject, Job, PartProfile
from dvla.benchmarks.latency.gpu.subjects import SUBJECTS, Subject, make_subject
from dvla.benchmarks.report.machine import gpu_clocks
from dvla.engines.bundle import REFERENCE_NAME
from dvla.engines.errors import DvlaError, MissingDependency, UsageError
from dvla.engines.files import write_atomically
from dvla.engines.torch_library import library
from dvla.export.reference import load_reference
from dvla.runtime.percentiles import percentiles

_LONGEST = 5
_TOKENS = 13
# The first run of what torch.compile captures warms it up, the second one captures it.
_PART_WARM_UPS = 2


def measure(job: Job) -> GpuSubject:
    """Measure a subject and return what was found; parts of it are written before."""
    name, started_s = job.subject, time.perf_counter()
    unused_bytes = device_used_bytes(job.device)
    found = GpuSubject(name=name, status="failed", precision=SUBJECTS[name][1])
    try:
        subject = make_subject(name, Path(job.checkpoint), Path(job.bundle), job.device)
    except (MissingDependency, UsageError) as error:
        return msgspec.structs.replace(found, status="not available", message=str(error))
    found = msgspec.structs.replace(
        found,
        description=subject.description,
        build_s=subject.build_s,
        load_s=subject.load_s,
        relative_error=relative_error(subject, Path(job.bundle)),
    )
    write(job, found)
    loaded_bytes = device_used_bytes(job.device)
    for _ in range(job.warm_up):
        subject.run(0)
    samples_s = []
    for _ in range(job.rounds):
        before_s = time.perf_counter()
        subject.run(0)
        samples_s.append(time.perf_counter() - before_s)
    spread_s = percentiles(samples_s)
    assert spread_s is not None  # There is a round.
    found = msgspec.structs.replace(
        found,
        status="measured",
        samples_s=tuple(samples_s),
        spread_s=spread_s,
        replan_hz=1.0 / spread_s.p50,
        clocks=gpu_clocks(),
        resident_bytes=memory_bytes(Path("/proc/self/status").read_text()).get("VmRSS", 0),
        device_peak_bytes=max(loaded_bytes, device_used_bytes(job.device)) - unused_bytes,
    )
    write(job, found)
    parts = {part: profiled(run, job.device) for part, run in subject.parts().items()}
    found = msgspec.structs.replace(found, parts=parts)
    write(job, found)
    if subject.backend is not None:
        threads = os.cpu_count() or 1
        starts = tuple(
            measure_cold_start(Path(job.bundle), subject.backend, threads, _TOKENS)
            for _ in range(job.cold_starts)
        )
        found = msgspec.structs.replace(found, cold_starts=starts)
    return msgspec.structs.replace(found, wall_s=time.perf_counter() - started_s)


def relative_error(subject: Subject, bundle: Path) -> float:
    """Return the worst max|a - b| / max|b| of the unguided cases against the fp32 torch model."""
    reference, errors = load_reference(bundle / REFERENCE_NAME), []
    for case in range(len(reference)):
        if not reference.prev_weight[case].any():
            wanted = reference.actions[case]
            errors.append(np.abs(subject.run(case) - wanted).max() / np.abs(wanted).max())
    return float(max(errors))


def profiled(part: Callable[[], object], device: str) -> PartProfile:
    """Return what one run of a part does, under torch's profiler."""
    torch = library()
    kinds = torch.profiler.ProfilerActivity
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(_PART_WARM_UPS):
        part()
    wait()
    started_s = time.perf_counter()
    part()
    wait()
    wall_s = time.perf_counter() - started_s
    kind = kinds.CUDA if device == "cuda" else kinds.CPU
    with torch.profiler.profile(activities=[kind]) as profiler:
        part()
        wait()
    seconds: dict[str, float] = {}
    kernels = 0
    for event in profiler.events():
        on_gpu = event.device_type == torch.autograd.DeviceType.CUDA
        if on_gpu != (device == "cuda"):
            continue
        kernels += 1
        own_us = event.time_range.elapsed_us() if on_gpu else event.self_cpu_time_total
        seconds[event.name] = seconds.get(event.name, 0.0) + own_us / 1e6
    longest = sorted(seconds.items(), key=lambda item: -item[1])[:_LONGEST]
    return PartProfile(
        kernels=kernels,
        device_s=sum(seconds.values()),
        wall_s=wall_s,
        longest={name[:100]: value for name, value in longest},
    )


def device_used_bytes(device: str) -> int:
    """Return what is taken of the GPU's memory, by whomever.

    Torch counts its own allocations alone: neither the weights of AOTInductor's packages nor
    anything of TensorRT's is among them.
    """
    if device != "cuda":
        return 0
    free_bytes, total_bytes = library().cuda.mem_get_info()
    return int(total_bytes - free_bytes)


def write(job: Job, found: GpuSubject) -> None:
    """Replace the result file in one step."""
    write_atomically(Path(job.result), msgspec.json.encode(found))


def main() -> None:
    """Measure what the job on the command line says."""
    job = msgspec.json.decode(sys.argv[1], type=Job)
    try:
        found = measure(job)
    except DvlaError as error:
        known = known_so_far(job)
        found = msgspec.structs.replace(known, message=str(error))
    write(job, found)


def known_so_far(job: Job) -> GpuSubject:
    """Return what a subject's process has written, or that it wrote nothing."""
    try:
        return msgspec.json.decode(Path(job.result).read_bytes(), type=GpuSubject)
    except (OSError, msgspec.DecodeError):
        return GpuSubject(name=job.subject, status="failed", precision=SUBJECTS[job.subject][1])


if __name__ == "__main__":
    main()
