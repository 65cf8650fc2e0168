"""The report: frozen structs whose JSON is the contract; pages and tables are made from it."""

from __future__ import annotations

import msgspec

from dvla.benchmarks.report.activity import Activity
from dvla.benchmarks.report.machine import BenchMachine
from dvla.benchmarks.report.statistics import Comparison
from dvla.runtime.percentiles import Percentiles

SCHEMA = "dvla-bench"
SCHEMA_VERSION = 1

VISION = "vision"
PREFIX = "prefix"
VISION_PREFIX = "vision + prefix"
DENOISE = "denoise"
END_TO_END = "end to end"
PARTS = (VISION, PREFIX, VISION_PREFIX, DENOISE, END_TO_END)
"""In the order of the model. ``end to end``: uint8 frames to absolute actions."""


class Fixture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was computed.

    Attributes:
        name: ``synthetic-full``, or the bundle's name.
        weights_sha256: of the checkpoint's weights file.
        inputs_sha256: of frames, state, tokens and noise.
        tokens: of the instruction, before padding.
        bundle_bytes: size of the bundle on disk.
        precision: number format per part of the bundle.
        num_steps: Euler steps of a chunk; 0 in reports that do not say.
    """

    name: str
    weights_sha256: str
    inputs_sha256: str
    tokens: int
    bundle_bytes: int
    precision: dict[str, str]
    num_steps: int = 0


class Timing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Durations of one part [s], one per round, warm-up excluded, and their percentiles."""

    samples_s: tuple[float, ...]
    spread_s: Percentiles


class Work(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one part must do, at least.

    Attributes:
        flops: multiplications and additions of convolutions and matrix products.
        weight_bytes: distinct weights.
        weight_bytes_read: the same with every use counted; ten Euler steps use them ten times.
        counted_from: the ONNX graph, or the torch model.
    """

    flops: int
    weight_bytes: int
    weight_bytes_read: int
    counted_from: str


class ColdStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fresh process, from its start to its first chunk; files may be in the page cache.

    Attributes:
        imported_s / loaded_s / first_chunk_s: when imports, load with warm-up, and the first chunk
            were done, all since the start of the process.
        resident_bytes / resident_peak_bytes: memory of the process then, and at most.
        anonymous_bytes: of it, what is not a mapped file, and what no other process shares.
        cpu_s: processor time until the first chunk, which a busy machine does not stretch.
        actions_sha256: of the first chunk's actions.
    """

    imported_s: float
    loaded_s: float
    first_chunk_s: float
    resident_bytes: int
    resident_peak_bytes: int
    anonymous_bytes: int
    cpu_s: float = 0.0
    actions_sha256: str = ""


class SubjectResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One engine, or one peer.

    Attributes:
        name: ``onnxruntime``; is_peer: it is what others are measured against.
        description: library, version, precision and settings.
        precision: of its weights, for the roofline.
        threads: that one inference uses.
        timings / work: by part; a part that cannot be told apart is absent.
        replan_hz: chunks per second at the median; action_hz: ``chunk_size`` times that.
        action_error: max|a - b| / max|b| of its actions against the first peer's; None for itself.
        cold_starts: of fresh processes.
    """

    name: str
    is_peer: bool
    description: str
    precision: str
    threads: int
    timings: dict[str, Timing]
    work: dict[str, Work]
    chunk_size: int
    replan_hz: float
    action_hz: float
    action_error: float | None = None
    cold_starts: tuple[ColdStart, ...] = ()


class LatencyResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Latency at batch 1.

    Attributes:
        rounds: each subject ran once in each; ``warm_up_rounds`` came before and are not counted.
        order: subjects of every round, in the order in which they ran.
        subjects: engines first, then peers.
        comparisons: of every engine with every peer, per part that both have.
    """

    rounds: int
    warm_up_rounds: int
    order: tuple[tuple[str, ...], ...]
    subjects: tuple[SubjectResult, ...]
    comparisons: tuple[Comparison, ...]


class ServoLoop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One loop at one rate under one load.

    Attributes:
        loop: ``dvla`` or ``bare C``.
        load: ``idle``, or ``engine``: an engine saturates the cores.
        ticks / overruns: served deadlines, and deadlines that had passed unserved.
        wake_us: waking minus deadline; dispatch_us: the command was ready, minus deadline.
        jitter_us: distance between successive dispatches from the period, absolute.
        busy_us: from waking to the command; None for the bare loop, which does nothing.
        segment_wake_p99_us: p99 of wake_us per segment, which pairs the loops.
        setup: what the kernel granted.
    """

    loop: str
    load: str
    rate_hz: int
    ticks: int
    overruns: int
    wake_us: Percentiles
    dispatch_us: Percentiles
    jitter_us: Percentiles
    busy_us: Percentiles | None
    segment_wake_p99_us: tuple[float, ...]
    setup: str


class ServoResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Loops that ran in alternation, in segments of ``segment_s``."""

    segment_s: float
    segments: int
    load_description: str
    loops: tuple[ServoLoop, ...]
    comparisons: tuple[Comparison, ...]


class ChannelCost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one operation of one channel costs its caller.

    Attributes:
        samples_us: mean duration of a call in a batch [us], one per batch; ``spread_us`` of them.
        peak_bytes: Python memory that one call holds at most; ``kept_bytes``: that it leaves.
    """

    channel: str
    operation: str
    samples_us: tuple[float, ...]
    spread_us: Percentiles
    peak_bytes: int
    kept_bytes: float


class StreamResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Channels in alternation; a batch of each per round."""

    knots: int
    batch_calls: int
    rounds: int
    costs: tuple[ChannelCost, ...]
    comparisons: tuple[Comparison, ...]


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this device does at best, measured by a short probe with ``threads`` threads.

    Attributes:
        bandwidth_bytes_per_s: reading memory.
        flops_per_s: matrix products, by precision.
        cache_bytes: last-level cache; weights that fit are read once.
    """

    threads: int
    bandwidth_bytes_per_s: float
    flops_per_s: dict[str, float]
    cache_bytes: int


class BenchReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that one call of ``dvla-bench`` found.

    Attributes:
        command: that makes it again, without paths of this machine.
        started_utc: when it began.
        activity: how much of the machine it had.
    """

    schema: str = SCHEMA
    schema_version: int = SCHEMA_VERSION
    dvla_version: str
    command: str
    started_utc: str
    machine: BenchMachine
    activity: Activity
    fixture: Fixture | None = None
    device: Device | None = None
    latency: LatencyResult | None = None
    servo: ServoResult | None = None
    stream: StreamResult | None = None
