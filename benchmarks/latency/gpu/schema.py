"""What the GPU benchmark asks of each subject's process, and what it writes."""

from __future__ import annotations

from typing import Literal

import msgspec

from dvla.benchmarks.report.activity import Activity
from dvla.benchmarks.report.machine import BenchMachine
from dvla.benchmarks.report.schema import ColdStart
from dvla.runtime.percentiles import Percentiles

SCHEMA = "dvla-bench-gpu"
SCHEMA_VERSION = 1
Status = Literal["measured", "not available", "failed", "out of time"]


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One subject in one process.

    Attributes:
        subject: one of ``subjects.SUBJECTS``.
        checkpoint, bundle: of the same weights.
        device: ``cuda`` or ``cpu``.
        rounds: that count; ``warm_up`` precede them.
        result: file that the process writes; what it knows so far, whenever it knows more.
        cold_starts: fresh processes, of subjects that are engines of a bundle.
    """

    subject: str
    checkpoint: str
    bundle: str
    device: str
    rounds: int
    warm_up: int
    result: str
    cold_starts: int = 1


class PartProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run of a part alone under torch's profiler.

    Attributes:
        kernels: launched on the GPU; on a CPU, operators that ran.
        device_s: time in them [s]; what is missing to ``wall_s`` is launching and waiting.
        longest: the five names that took most, with their seconds.
    """

    kernels: int
    device_s: float
    wall_s: float
    longest: dict[str, float]


class GpuSubject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was found of one subject.

    Attributes:
        name, description, precision: what ran.
        status: and why, in ``message``, where it is not ``measured``.
        build_s: compiling, where it compiles; load_s: loading.
        samples_s: uint8 frames on the host to actions on the host, one per round.
        spread_s: of them; ``replan_hz`` at the median.
        relative_error: max|a - b| / max|b| of its actions against the fp32 torch model's.
        parts: profiles.
        cold_starts: of fresh processes.
        resident_bytes: of the process.
        device_peak_bytes: by how much more of the GPU's memory was taken when it was loaded or
            after its rounds, the larger of the two, than before. The weights of every library, its
            kernels and what it keeps in reserve count; torch's own CUDA context was there before
            and does not, other contexts do, and so does what other processes took meanwhile.
        clocks: of the GPU right after the rounds, as its driver tells them.
    """

    name: str
    status: Status
    message: str = ""
    description: str = ""
    precision: str = ""
    build_s: float = 0.0
    load_s: float = 0.0
    samples_s: tuple[float, ...] = ()
    spread_s: Percentiles | None = None
    replan_hz: float = 0.0
    relative_error: float | None = None
    parts: dict[str, PartProfile] = {}
    cold_starts: tuple[ColdStart, ...] = ()
    resident_bytes: int = 0
    device_peak_bytes: int = 0
    clocks: str = ""
    wall_s: float = 0.0


class GpuReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that one call found; written again after every subject.

    Attributes:
        device: the GPU's name, or the CPU's.
        weights_sha256: of the checkpoint.
        complete: whether the call reached its end.
        times_as_fast: p50 of eager fp32 by p50 of each measured subject. Subjects ran one after the
            other, so this is no paired comparison.
    """

    schema: str = SCHEMA
    schema_version: int = SCHEMA_VERSION
    dvla_version: str
    command: str
    started_utc: str
    device: str
    machine: BenchMachine
    size: str
    weights_sha256: str
    budget_s: float
    subjects: tuple[GpuSubject, ...] = ()
    times_as_fast: dict[str, float] = {}
    activity: Activity | None = None
    complete: bool = False
