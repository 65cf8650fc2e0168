"""``dvla-bench beside`` and ``dvla-bench stalls``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import tyro

from dvla.benchmarks.report.statistics import comparison_text
from dvla.benchmarks.session import Flag, Size, check_out, distinct, positive, say, threads_of


def beside(
    bundle: Annotated[Path | None, tyro.conf.Positional] = None,
    synthetic: Size | None = None,
    backend: str = "onnxruntime",
    rate_hz: tuple[int, ...] = (250, 1000),
    segments: int = 12,
    segment_s: float = 3.0,
    threads: int | None = None,
    out: Path | None = None,
    json: Flag = False,
    debug: Flag = False,
) -> None:
    """Measure inference with and without the servo, the gate and inverse kinematics beside it.

    Segments with and without alternate, so that what else the machine does falls on both.

    Args:
        bundle: whose engine infers; the tiny synthetic one when neither is given.
        synthetic: seeded weights: tiny or full.
        backend: of the engine.
        rate_hz: rates of the servo, 60 to 1000 Hz.
        segments: with and without, each, at each rate.
        segment_s: duration of a segment [s].
        threads: of the engine; all cores when not given.
        out: the report (JSON).
        json: print the report as JSON.
        debug: show tracebacks.
    """
    from dvla.benchmarks.fixtures import find_subject
    from dvla.benchmarks.report.activity import ActivityMeter
    from dvla.benchmarks.report.machine import describe_bench_machine
    from dvla.benchmarks.servo.beside import BesideReport, measure_beside
    from dvla.benchmarks.servo.load import LoadJob

    del debug  # read from the command line where the errors are told
    for rate in distinct("--rate-hz", rate_hz):
        positive("--rate-hz", rate, 60, 1000)
    positive("--segments", segments)
    positive("--segment-s", segment_s, 0.1, 600)
    cores = threads_of(threads)
    check_out(out, page=False)
    size = synthetic or (None if bundle else "tiny")
    subject = find_subject(bundle, size, (backend,), say)
    name = bundle.name if bundle else f"--synthetic {size}"
    machine, meter = describe_bench_machine(), ActivityMeter()
    rates = measure_beside(
        LoadJob(bundle=str(subject.bundle), backend=backend, threads=cores),
        rate_hz, segments, segment_s, say,
    )  # fmt: skip
    report = BesideReport(
        machine=machine,
        activity=meter.stop(),
        command=f"dvla-bench beside {name} --backend {backend} --rate-hz "
        f"{' '.join(map(str, rate_hz))} --segments {segments} --segment-s {segment_s:g} "
        f"--threads {cores}",
        engine=f"{name}, {backend}, {cores} threads",
        rates=rates,
    )
    _deliver(report, out, json, [comparison_text(rate.comparison) for rate in rates])


def stalls(
    rounds: int = 10,
    stretch_s: float = 2.0,
    out: Path | None = None,
    json: Flag = False,
    debug: Flag = False,
) -> None:
    """Measure the servo of a run while its recorder, its viewer and its disk are stalled.

    Needs root and loop devices (the disk is frozen), and the extras sim and viz.

    Args:
        rounds: each has a calm stretch, and one with every stall.
        stretch_s: duration of a stretch [s], at most 5: a recorder that is silent for 10 s is dead.
        out: the report (JSON).
        json: print the report as JSON.
        debug: show tracebacks.
    """
    from dvla.benchmarks.report.machine import describe_bench_machine
    from dvla.benchmarks.servo.stalls import StallsReport, measure_stalls

    del debug  # read from the command line where the errors are told
    positive("--rounds", rounds)
    positive("--stretch-s", stretch_s, 0.5, 5.0)
    check_out(out, page=False)
    machine = describe_bench_machine()
    kinds, unrecorded, activity = measure_stalls(rounds, stretch_s, say)
    report = StallsReport(
        machine=machine,
        activity=activity,
        command=f"dvla-bench stalls --rounds {rounds} --stretch-s {stretch_s:g}",
        run="dvla-run --robot franka --sim --policy oracle --inject-latency-ms 100 --viz",
        rounds=rounds,
        stretch_s=stretch_s,
        unrecorded=unrecorded,
        kinds=kinds,
    )
    lines = [
        f"{kind.stalled}: lateness p50 {kind.lateness_us.p50:.0f}, p99 {kind.lateness_us.p99:.0f}, "
        f"max {kind.lateness_us.max:.0f} us; {kind.overruns} overruns of {kind.ticks} ticks"
        for kind in kinds
    ]
    lines += [comparison_text(kind.comparison) for kind in kinds if kind.comparison is not None]
    _deliver(report, out, json, [*lines, f"unrecorded: {unrecorded}"])


def _deliver(report: msgspec.Struct, out: Path | None, json: bool, lines: list[str]) -> None:
    from dvla.benchmarks.report.store import write_whole

    told = msgspec.json.encode(report)
    if out is not None:
        write_whole(out, msgspec.json.format(told, indent=1) + b"\n")
    print(told.decode() if json else "\n".join(lines))
