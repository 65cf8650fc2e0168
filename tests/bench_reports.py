"""Made-up benchmark reports, for tests that need one without measuring anything."""

from __future__ import annotations

import msgspec
import numpy as np

from dvla.benchmarks.report.activity import judge_activity
from dvla.benchmarks.report.machine import BenchMachine
from dvla.benchmarks.report.schema import (
    DENOISE,
    END_TO_END,
    VISION_PREFIX,
    BenchReport,
    ChannelCost,
    Device,
    Fixture,
    LatencyResult,
    ServoLoop,
    ServoResult,
    StreamResult,
    SubjectResult,
    Timing,
    Work,
)
from dvla.benchmarks.report.statistics import compare_samples
from dvla.runtime.machine import Machine
from dvla.runtime.percentiles import Percentiles, percentiles

ROUNDS = 20
DEVICE = Device(
    threads=2, bandwidth_bytes_per_s=20e9, flops_per_s={"fp32": 100e9, "bf16": 300e9}, cache_bytes=0
)
FIXTURE = Fixture(
    name="synthetic-tiny",
    weights_sha256="ab" * 32,
    inputs_sha256="cd" * 32,
    tokens=13,
    bundle_bytes=5_000_000,
    precision={"vision": "fp32", "prefix": "fp32", "denoise": "fp32"},
)


def durations(middle: float, seed: int = 0, n: int = ROUNDS) -> tuple[float, ...]:
    """Return durations that spread by 5 % around a middle."""
    rng = np.random.default_rng(seed)
    return tuple((middle * (1 + 0.05 * rng.standard_normal(n))).tolist())


def spread(values: tuple[float, ...]) -> Percentiles:
    found = percentiles(values)
    assert found is not None
    return found


def subject(name: str, middle_s: float, *, is_peer: bool = False, seed: int = 0) -> SubjectResult:
    """Return a subject whose two parts take half of its time each."""
    shares = {VISION_PREFIX: 0.5, DENOISE: 0.5, END_TO_END: 1.0}
    series = {part: durations(share * middle_s, seed) for part, share in shares.items()}
    work = Work(
        flops=2_000_000_000,
        weight_bytes=40_000_000,
        weight_bytes_read=40_000_000,
        counted_from="ONNX graph",
    )
    replan_hz = 1 / spread(series[END_TO_END]).p50
    return SubjectResult(
        name=name,
        is_peer=is_peer,
        description=f"{name} <fp32> & friends",
        precision="fp32",
        threads=2,
        timings={k: Timing(samples_s=v, spread_s=spread(v)) for k, v in series.items()},
        work={
            VISION_PREFIX: work,
            DENOISE: work,
            END_TO_END: msgspec.structs.replace(
                work, flops=2 * work.flops, weight_bytes=80_000_000, weight_bytes_read=80_000_000
            ),
        },
        chunk_size=20,
        replan_hz=replan_hz,
        action_hz=20 * replan_hz,
    )


def latency(*subjects: SubjectResult) -> LatencyResult:
    from dvla.benchmarks.latency.measure import compare_subjects

    names = tuple(each.name for each in subjects)
    return LatencyResult(
        rounds=ROUNDS,
        warm_up_rounds=3,
        order=(names, names[::-1]) * (ROUNDS // 2),
        subjects=subjects,
        comparisons=tuple(compare_subjects(subjects)),
    )


def servo() -> ServoResult:
    values = durations(50.0)
    loops = tuple(
        ServoLoop(
            loop=name,
            load="idle",
            rate_hz=250,
            ticks=1000,
            overruns=2,
            wake_us=spread(values),
            dispatch_us=spread(values),
            jitter_us=spread(values),
            busy_us=spread(values) if name == "dvla" else None,
            segment_wake_p99_us=values,
            setup="ordinary scheduler",
        )
        for name in ("dvla", "bare C")
    )
    found = compare_samples(("dvla", values), ("bare C", values), "p99 of waking", paired=True)
    return ServoResult(
        segment_s=1.0, segments=ROUNDS, load_description="none", loops=loops, comparisons=(found,)
    )


def stream() -> StreamResult:
    costs = tuple(
        ChannelCost(
            channel=channel,
            operation=operation,
            samples_us=durations(middle_us),
            spread_us=spread(durations(middle_us)),
            peak_bytes=400,
            kept_bytes=0.0,
        )
        for channel, middle_us in (("ActionStream", 1.0), ("lock + deque", 3.0))
        for operation in ("publish", "sample")
    )
    return StreamResult(knots=22, batch_calls=10, rounds=ROUNDS, costs=costs, comparisons=())


def report(**parts: object) -> BenchReport:
    """Return a report of a made-up, quiet machine with some parts."""
    base = BenchReport(
        dvla_version="0.1.0",
        command="dvla-bench all --synthetic tiny",
        started_utc="2026-01-02T03:04:05+00:00",
        machine=BenchMachine(
            base=Machine(
                cpu="Made-up <CPU>",
                cores=2,
                governor="performance",
                memory_bytes=8 << 30,
                load_1m=0.1,
                kernel="Linux 6.0",
                architecture="x86_64",
                python="3.11.0",
                libraries={"numpy": "2.0"},
            ),
            flags=("avx2", "amx_bf16"),
            last_level_cache_bytes=32 << 20,
            max_mhz=3000.0,
            cpu_limit_cores=1.5,
            memory_limit_bytes=4 << 30,
            power_mode="unknown",
            gpus=(),
            libraries={"torch": "2.6"},
        ),
        activity=judge_activity(0.1, 1.0, 2, 0.01, 0.0),
    )
    return msgspec.structs.replace(base, **parts)


def full_report() -> BenchReport:
    """Return a report with everything in it."""
    return report(
        fixture=FIXTURE,
        device=DEVICE,
        latency=latency(subject("onnxruntime", 0.1), subject("eager", 0.4, is_peer=True, seed=1)),
        servo=servo(),
        stream=stream(),
    )
