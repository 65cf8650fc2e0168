"""The servo benchmark: our loop and the bare one in alternation, at rates and under loads."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import msgspec
import numpy as np

from dvla.benchmarks.report.schema import ServoLoop, ServoResult
from dvla.benchmarks.report.statistics import compare_samples
from dvla.benchmarks.servo.bare_loop import compile_loop, run_bare_segment
from dvla.benchmarks.servo.load import LoadJob, engine_load
from dvla.benchmarks.servo.loop import HOME, SegmentJob
from dvla.benchmarks.servo.segment import Segment
from dvla.bindings import ActionStream
from dvla.engines.errors import DvlaError
from dvla.runtime.clock import NS_PER_MS, monotonic_ns
from dvla.runtime.percentiles import percentiles

OURS, PEER = "dvla", "bare C"
LOADS = ("idle", "engine")
QUANTITY = "p99 of waking"
_PERIOD_NS = 40 * NS_PER_MS
_REPLAN_S = 0.2
_KNOTS = 22


class ServoFailed(DvlaError):
    """The process with the servo loop ended early."""

    exit_code = 1


class ServoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is run: every rate under every load, in ``segments`` of ``segment_s`` per loop."""

    rates_hz: tuple[int, ...]
    loads: tuple[str, ...]
    segments: int
    segment_s: float
    engine: LoadJob | None


def measure_servo(options: ServoOptions, say: Callable[[str], None]) -> ServoResult:
    """Measure both loops at every rate and under every load."""
    loops: list[ServoLoop] = []
    with tempfile.TemporaryDirectory(prefix="dvla-bench-") as folder:
        program = compile_loop(Path(folder))
        with _servo_process() as run_ours:
            for load in options.loads:
                wanted = options.engine if load == "engine" else None
                with engine_load(wanted) if wanted else nullcontext():
                    for rate_hz in options.rates_hz:
                        say(f"servo at {rate_hz} Hz, {load} ...")
                        loops += _alternating(rate_hz, load, options, run_ours, program)
    engine = options.engine
    return ServoResult(
        segment_s=options.segment_s,
        segments=options.segments,
        load_description=(
            f"{engine.backend} infers without pause with {engine.threads} threads"
            if engine and "engine" in options.loads
            else "none"
        ),
        loops=tuple(loops),
        comparisons=tuple(
            compare_samples(
                (f"{ours.loop} at {ours.rate_hz} Hz, {ours.load}", ours.segment_wake_p99_us),
                (peer.loop, peer.segment_wake_p99_us),
                QUANTITY,
                paired=True,
            )
            for ours, peer in zip(loops[::2], loops[1::2], strict=True)
        ),
    )


def summarise_loop(loop: str, load: str, rate_hz: int, segments: Sequence[Segment]) -> ServoLoop:
    """Put the segments of one loop together.

    Raises:
        ServoFailed: hardly a tick was served, so that there is nothing to tell.
    """
    wake = percentiles(np.concatenate([segment.wake_us for segment in segments]))
    dispatch = percentiles(np.concatenate([segment.dispatch_us for segment in segments]))
    jitter = percentiles(np.concatenate([segment.jitter_us for segment in segments]))
    if wake is None or dispatch is None or jitter is None:
        raise ServoFailed(f"The {loop} loop served no two ticks at {rate_hz} Hz")
    makes_commands = any(segment.dispatched_ns for segment in segments)
    busy = np.concatenate([segment.busy_us for segment in segments])
    return ServoLoop(
        loop=loop,
        load=load,
        rate_hz=rate_hz,
        ticks=sum(len(segment.woke_ns) for segment in segments),
        overruns=sum(segment.overruns for segment in segments),
        wake_us=wake,
        dispatch_us=dispatch,
        jitter_us=jitter,
        busy_us=percentiles(busy) if makes_commands else None,
        segment_wake_p99_us=tuple(float(np.percentile(s.wake_us, 99)) for s in segments),
        setup=segments[0].setup,
    )


def _alternating(
    rate_hz: int,
    load: str,
    options: ServoOptions,
    run_ours: Callable[[SegmentJob], Segment],
    program: Path,
) -> list[ServoLoop]:
    """Run segments of both loops, in an order that reverses each time."""
    job = SegmentJob(rate_hz=rate_hz, duration_s=options.segment_s, stream_fd=0)
    turns: dict[str, Callable[[], Segment]] = {
        OURS: lambda: run_ours(job),
        PEER: lambda: run_bare_segment(
            program, 1_000_000_000 // rate_hz, options.segment_s, job.priority
        ),
    }
    found: dict[str, list[Segment]] = {name: [] for name in turns}
    for index in range(options.segments):
        names = list(turns) if index % 2 == 0 else list(reversed(turns))
        for name in names:
            found[name].append(turns[name]())
    return [summarise_loop(name, load, rate_hz, found[name]) for name in turns]


@contextmanager
def _servo_process() -> Iterator[Callable[[SegmentJob], Segment]]:
    """Yield a function that runs segments in the servo's own process, on a stream that moves."""
    stream = ActionStream.create()
    process = subprocess.Popen(
        [sys.executable, "-m", "dvla.benchmarks.servo.loop"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(stream.fd,),
    )
    to_child, from_child = process.stdin, process.stdout
    assert to_child is not None and from_child is not None
    stop = threading.Event()
    writer = threading.Thread(target=publish_motion, args=(stream, stop))
    writer.start()

    def run(job: SegmentJob) -> Segment:
        told = msgspec.structs.replace(job, stream_fd=stream.fd)
        to_child.write(msgspec.json.encode(told) + b"\n")
        to_child.flush()
        line = from_child.readline()
        if not line:
            raise ServoFailed(
                "The servo process ended early",
                got=f"exit status {process.wait()}; its own message is above",
            )
        return msgspec.json.decode(line, type=Segment)

    try:
        yield run
    finally:
        stop.set()
        writer.join()
        to_child.close()
        from_child.close()
        process.wait()
        stream.close()


def publish_motion(stream: ActionStream, stop: threading.Event) -> None:
    """Publish a slow circle, a new timeline per replanning, until told to stop."""
    index = np.arange(_KNOTS, dtype=np.int64)
    chunk = 0
    while not stop.is_set():
        start_ns = monotonic_ns() // _PERIOD_NS * _PERIOD_NS
        t_ns = start_ns + _PERIOD_NS // 2 + _PERIOD_NS * index
        stream.publish(
            t_ns,
            circle(t_ns),
            np.full(_KNOTS, chunk, np.int64),
            np.full(_KNOTS, start_ns, np.int64),
            start_ns=start_ns,
            end_ns=start_ns + _KNOTS * _PERIOD_NS,
            generation=0,
        )
        chunk += 1
        stop.wait(_REPLAN_S)


def circle(
    t_ns: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return setpoints (n, 8) on a circle of 5 cm about the home pose, one turn in 4 s."""
    rows = np.tile(np.array(HOME), (len(t_ns), 1))
    angle = 2 * np.pi * (t_ns % 4_000_000_000) / 4e9
    rows[:, 0] += 0.05 * np.sin(angle)
    rows[:, 1] += 0.05 * (1 - np.cos(angle))
    return rows
