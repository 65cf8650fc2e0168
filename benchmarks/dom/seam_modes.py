"""Compare the ways to cross a seam on the same episodes: switch, blend and real-time chunking.

    python -m dvla.benchmarks.dom.seam_modes --episodes 10 --out rtc-seams.json

The policy is an exact flow over smooth chunks (``smooth_flow``); object and pictures play no part.
Each episode is run once per mode, with the same noise for the same inference.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import tyro

from dvla.benchmarks.dom.episode import ClosedLoop
from dvla.benchmarks.dom.latency import Latency
from dvla.benchmarks.dom.result import CellConfig
from dvla.benchmarks.dom.schedules import SCHEDULES, ScheduleName
from dvla.benchmarks.dom.seams import PlanRecorder, SeamSamples
from dvla.benchmarks.dom.seeded import SeededPolicy
from dvla.benchmarks.dom.smooth_flow import SmoothFlow
from dvla.engines.cli_errors import run_main
from dvla.runtime.machine import Machine, describe_machine
from dvla.runtime.twin.world import TwinWorld

MODES: tuple[ScheduleName, ...] = ("streaming", "blending", "rtc", "rtc-aged")
FIRST_SEED = 20_000


class Spread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Percentiles of some samples."""

    samples: int
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Return the percentiles of at least one value."""
        p50, p95, p99 = np.percentile(values, [50, 95, 99])
        rounded = (round(float(value), 6) for value in (p50, p95, p99, max(values)))
        names = ("p50", "p95", "p99", "max")
        return cls(samples=len(values), **dict(zip(names, rounded, strict=True)))


class ModeResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the seams of one mode were, over all episodes.

    Attributes:
        seam_m / seam_rad: step of one control period across a seam.
        in_chunk_m: largest step inside a chunk.
        seam_jerk_m_s3 / chunk_jerk_m_s3: the plan's jerk at seams and inside chunks.
        jerk_ratio: median jerk at seams by the median of ``streaming``, which switches.
        path_m: way of the TCP per episode: how much the arm moved at all.
        accepted / rejected: commands at the arm's gate.
        saturated_ticks: servo ticks on which the shaper limited the motion.
        underruns: times that the timeline ran dry.
    """

    mode: ScheduleName
    seam_m: Spread
    seam_rad: Spread
    in_chunk_m: Spread
    seam_jerk_m_s3: Spread
    chunk_jerk_m_s3: Spread
    jerk_ratio: float
    path_m: float
    accepted: int
    rejected: int
    saturated_ticks: int
    underruns: int


class SeamReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The comparison; the same command gives the same numbers on any machine."""

    schema: int = 1
    command: str
    machine: Machine
    policy: str
    latency: Latency
    episodes: int
    first_seed: int
    modes: tuple[ModeResult, ...]


def run_mode(
    mode: ScheduleName, seeds: range, latency: Latency, switch_jerk: float | None
) -> ModeResult:
    """Run all episodes in one mode.

    Args:
        mode: how seams are crossed, by name.
        seeds: of the episodes.
        latency: injected.
        switch_jerk: median jerk at seams of streaming; None while that is what is measured.
    """
    config = CellConfig(latency=latency, scheduler=SCHEDULES[mode])
    samples, world = SeamSamples(), TwinWorld()
    path_m = accepted = rejected = saturated = underruns = 0.0
    for seed in seeds:
        recorder = PlanRecorder()
        policy = SeededPolicy(SmoothFlow(), seed)
        loop = ClosedLoop(config, policy, world, seed, watch_plan=recorder.take)
        try:
            loop.run()
            samples.extend(recorder.samples(loop.log.events))
            path_m += loop.path_m / len(seeds)
            accepted += loop.state.accepted
            rejected += sum(loop.state.rejected.values())
            saturated += loop.saturated_ticks
            underruns += loop.scheduler.counters.underruns
        finally:
            loop.close()
    jerk = Spread.of(samples.seam_jerk_m_s3)
    return ModeResult(
        mode=mode,
        seam_m=Spread.of(samples.seam_m),
        seam_rad=Spread.of(samples.seam_rad),
        in_chunk_m=Spread.of(samples.in_chunk_m),
        seam_jerk_m_s3=jerk,
        chunk_jerk_m_s3=Spread.of(samples.chunk_jerk_m_s3),
        jerk_ratio=round(jerk.p50 / (switch_jerk or jerk.p50), 4),
        path_m=round(path_m, 4),
        accepted=int(accepted),
        rejected=int(rejected),
        saturated_ticks=int(saturated),
        underruns=int(underruns),
    )


def command(
    out: Path = Path("rtc-seams.json"),
    episodes: int = 10,
    latency_ms: float = 200.0,
    latency_spread: float = 0.1,
) -> None:
    """Compare streaming, blending and both ways of rtc on the same episodes.

    Args:
        out: where the report goes.
        episodes: per mode.
        latency_ms: injected inference latency (median) [ms].
        latency_spread: standard deviation of the latency's logarithm.
    """
    latency = Latency(median_ms=latency_ms, spread=latency_spread)
    seeds = range(FIRST_SEED, FIRST_SEED + episodes)
    machine = describe_machine()
    results: list[ModeResult] = []
    for mode in MODES:
        switch_jerk = results[0].seam_jerk_m_s3.p50 if results else None
        results.append(run_mode(mode, seeds, latency, switch_jerk))
        print(line(results[-1]), flush=True)
    report = SeamReport(
        command=f"python -m dvla.benchmarks.dom.seam_modes --episodes {episodes} "
        f"--latency-ms {latency_ms:g} --latency-spread {latency_spread:g}",
        machine=machine,
        policy="exact flow over smooth chunks (benchmarks/dom/smooth_flow.py)",
        latency=latency,
        episodes=episodes,
        first_seed=FIRST_SEED,
        modes=tuple(results),
    )
    out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def line(result: ModeResult) -> str:
    """Return a mode as one line for people."""
    return (
        f"{result.mode:>10}: seam {1e3 * result.seam_m.p50:.2f} mm p50, "
        f"{1e3 * result.seam_m.p95:.2f} p95 (in chunk {1e3 * result.in_chunk_m.p50:.2f}); "
        f"jerk at seams {result.seam_jerk_m_s3.p50:.1f} m/s3 p50, "
        f"{result.seam_jerk_m_s3.p95:.1f} p95 ({result.jerk_ratio:.2f} x streaming); "
        f"path {result.path_m:.2f} m, rejected {result.rejected}, saturated "
        f"{result.saturated_ticks}"
    )


def main() -> None:
    """Run the command line."""
    sys.exit(run_main(lambda: tyro.cli(command)))


if __name__ == "__main__":
    main()
