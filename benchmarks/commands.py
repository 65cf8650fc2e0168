"""The measuring commands of ``dvla-bench``, one function each; flags come from their types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import tyro

from dvla.benchmarks.session import (
    Flag,
    Session,
    Size,
    check_out,
    deliver,
    distinct,
    positive,
    say,
    threads_of,
)

STREAM_ROUNDS, STREAM_BATCH = 50, 200


def latency(
    bundle: Annotated[Path | None, tyro.conf.Positional] = None,
    synthetic: Size | None = None,
    backend: tuple[str, ...] = ("onnxruntime",),
    peer: tuple[str, ...] = (),
    checkpoint: Path | None = None,
    rounds: int = 30,
    warm_up: int = 3,
    cold_starts: int = 3,
    threads: int | None = None,
    out: Path | None = None,
    json: Flag = False,
    debug: Flag = False,
) -> None:
    """Measure inference at batch 1: per part, end to end, cold start and memory.

    All subjects run in alternation in one process, so that they share whatever slows the machine.

    Args:
        bundle: folder of a bundle.
        synthetic: measure seeded weights instead: tiny (1.2 M parameters) or full (430 M).
        backend: engines, one or more.
        peer: reference peers: eager, the fp32 torch model.
        checkpoint: that the bundle was made of, for the eager peer.
        rounds: each runs every subject once.
        warm_up: rounds before those, which are not counted.
        cold_starts: fresh processes per backend; 0 for none.
        threads: of every subject; all cores when not given.
        out: the report (JSON); a page is written beside it.
        json: print the report as JSON.
        debug: show tracebacks.
    """
    from dvla.benchmarks.latency.measure import LatencyOptions
    from dvla.benchmarks.latency.run import run_latency

    del debug
    positive("--rounds", rounds)
    positive("--warm-up", warm_up, 0)
    positive("--cold-starts", cold_starts, 0, 100)
    options = LatencyOptions(
        backends=distinct("--backend", backend),
        peers=distinct("--peer", peer, required=False),
        rounds=rounds,
        warm_up_rounds=warm_up,
        cold_starts=cold_starts,
        threads=threads_of(threads),
    )
    check_out(out)
    deliver(run_latency(bundle, synthetic, checkpoint, options), out, json)


def servo(
    bundle: Annotated[Path | None, tyro.conf.Positional] = None,
    synthetic: Size | None = None,
    backend: str = "onnxruntime",
    rate_hz: tuple[int, ...] = (250, 1000),
    load: tuple[Literal["idle", "engine"], ...] = ("idle", "engine"),
    segments: int = 10,
    segment_s: float = 1.0,
    threads: int | None = None,
    out: Path | None = None,
    json: Flag = False,
    debug: Flag = False,
) -> None:
    """Measure jitter and overruns of the servo loop, beside a bare loop in C.

    Both loops run in alternation, with the same priority where the kernel grants one.

    Args:
        bundle: whose engine makes the load; the tiny synthetic one when neither is given.
        synthetic: the load's engine runs seeded weights: tiny or full.
        backend: of the load's engine.
        rate_hz: rates, 60 to 1000 Hz.
        load: idle, or engine: inference without pause on all cores.
        segments: of each loop at each rate under each load.
        segment_s: duration of a segment [s].
        threads: of the load's engine; all cores when not given.
        out: the report (JSON); a page is written beside it.
        json: print the report as JSON.
        debug: show tracebacks.
    """
    from dvla.benchmarks.fixtures import find_subject
    from dvla.benchmarks.servo.bare_loop import find_compiler
    from dvla.benchmarks.servo.load import LoadJob
    from dvla.benchmarks.servo.measure import ServoOptions, measure_servo

    del debug
    for rate in distinct("--rate-hz", rate_hz):
        positive("--rate-hz", rate, 60, 1000)
    distinct("--load", load)
    positive("--segments", segments)
    positive("--segment-s", segment_s, 0.1, 600)
    cores = threads_of(threads)
    find_compiler()
    check_out(out)
    size = synthetic or (None if bundle else "tiny")
    parts = ["dvla-bench servo", bundle.name if bundle else f"--synthetic {size}"]
    parts += [f"--backend {backend} --rate-hz {' '.join(map(str, rate_hz))}"]
    parts += [f"--load {' '.join(load)} --segments {segments} --segment-s {segment_s:g}"]
    session = Session(" ".join([*parts, f"--threads {cores}"]))
    engine = None
    if "engine" in load:
        subject = find_subject(bundle, size, (backend,), say)
        engine = LoadJob(bundle=str(subject.bundle), backend=backend, threads=cores)
    options = ServoOptions(
        rates_hz=rate_hz,
        loads=load,
        segments=segments,
        segment_s=segment_s,
        engine=engine,
    )
    session.restart_meter()
    found = measure_servo(options, say)
    deliver(session.finish(lambda head: msgspec.structs.replace(head, servo=found)), out, json)


def stream(
    rounds: int = STREAM_ROUNDS,
    batch: int = STREAM_BATCH,
    out: Path | None = None,
    json: Flag = False,
    debug: Flag = False,
) -> None:
    """Measure what publishing and sampling cost, beside a lock + deque and a Manager's queue.

    Args:
        rounds: one batch of every channel each.
        batch: calls per batch.
        out: the report (JSON); a page is written beside it.
        json: print the report as JSON.
        debug: show tracebacks.
    """
    from dvla.benchmarks.stream.measure import measure_stream

    del debug
    positive("--rounds", rounds)
    positive("--batch", batch)
    check_out(out)
    session = Session(f"dvla-bench stream --rounds {rounds} --batch {batch}")
    found = measure_stream(rounds, batch, say)
    deliver(session.finish(lambda head: msgspec.structs.replace(head, stream=found)), out, json)


def everything(
    bundle: Annotated[Path | None, tyro.conf.Positional] = None,
    synthetic: Size | None = None,
    backend: tuple[str, ...] = ("onnxruntime",),
    peer: tuple[str, ...] = (),
    checkpoint: Path | None = None,
    rounds: int = 20,
    cold_starts: int = 3,
    segments: int = 10,
    segment_s: float = 1.0,
    threads: int | None = None,
    out: Path = Path("bench.json"),
    json: Flag = False,
    debug: Flag = False,
) -> None:
    """Run latency, servo and stream, and write one report and one page.

    Args:
        bundle: folder of a bundle.
        synthetic: measure seeded weights instead: tiny or full.
        backend: engines, one or more; the first one makes the servo's load.
        peer: reference peers: eager.
        checkpoint: that the bundle was made of, for the eager peer.
        rounds: of the latency benchmark.
        cold_starts: fresh processes per backend; 0 for none.
        segments: of the servo benchmark.
        segment_s: duration of a segment [s].
        threads: of every subject; all cores when not given.
        out: the report (JSON); a page is written beside it.
        json: print the report as JSON.
        debug: show tracebacks.
    """
    from dvla.benchmarks.latency.measure import LatencyOptions
    from dvla.benchmarks.latency.run import latency_command, measured_latency, prepared
    from dvla.benchmarks.servo.bare_loop import find_compiler
    from dvla.benchmarks.servo.load import LoadJob
    from dvla.benchmarks.servo.measure import LOADS, ServoOptions, measure_servo
    from dvla.benchmarks.stream.measure import measure_stream

    del debug
    positive("--rounds", rounds)
    positive("--cold-starts", cold_starts, 0, 100)
    positive("--segments", segments)
    positive("--segment-s", segment_s, 0.1, 600)
    find_compiler()
    options = LatencyOptions(
        backends=distinct("--backend", backend),
        peers=distinct("--peer", peer, required=False),
        rounds=rounds,
        cold_starts=cold_starts,
        threads=threads_of(threads),
    )
    check_out(out)
    command = latency_command(bundle, synthetic, options).replace("latency", "all", 1)
    command = command.replace(f" --warm-up {options.warm_up_rounds}", "")
    session = Session(f"{command} --segments {segments} --segment-s {segment_s:g}")
    subject = prepared(bundle, synthetic, checkpoint, options)
    session.restart_meter()
    measured = measured_latency(subject, options)
    engine = LoadJob(
        bundle=str(subject.bundle), backend=options.backends[0], threads=options.threads
    )
    loops = measure_servo(
        ServoOptions(
            rates_hz=(250, 1000), loads=LOADS, segments=segments, segment_s=segment_s, engine=engine
        ),
        say,
    )
    channels = measure_stream(STREAM_ROUNDS, STREAM_BATCH, say)
    found = session.finish(
        lambda head: msgspec.structs.replace(measured(head), servo=loops, stream=channels)
    )
    deliver(found, out, json)
