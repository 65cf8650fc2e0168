"""Whether the servo slows inference: the same engine with and without it, in alternation.

One process infers without pause and says when each inference began and ended. Beside it the control
process (servo, gate, inverse kinematics) runs in every other segment. What else the machine does
falls on both kinds of segments alike.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import numpy as np

from dvla.benchmarks.report.activity import Activity
from dvla.benchmarks.report.machine import BenchMachine
from dvla.benchmarks.report.statistics import Comparison, compare_samples
from dvla.benchmarks.servo.control import ControlDone, ControlJob
from dvla.benchmarks.servo.load import LoadJob, timed_engine
from dvla.benchmarks.servo.measure import publish_motion
from dvla.bindings import ActionStream
from dvla.engines.errors import DvlaError
from dvla.runtime.clock import monotonic_ns
from dvla.runtime.percentiles import Percentiles, percentiles

SETTLE_S = 0.3
PATIENCE_NS = 60_000_000_000
QUANTITY = "median latency of inference"


class BesideFailed(DvlaError):
    """The control process ended early, or no inference fits into a segment."""

    exit_code = 1


class BesideAtRate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Inference with and without the control process at one rate.

    Attributes:
        rate_hz: of the servo, the gate and the inverse kinematics.
        alone_ms / beside_ms: latency of all inferences without and with it.
        segment_alone_ms / segment_beside_ms: median of each segment, which pairs them.
        comparison: of those.
        control: what the control process did in each segment.
    """

    rate_hz: int
    alone_ms: Percentiles
    beside_ms: Percentiles
    segment_alone_ms: tuple[float, ...]
    segment_beside_ms: tuple[float, ...]
    comparison: Comparison
    control: tuple[ControlDone, ...]


class BesideReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything of one measurement."""

    machine: BenchMachine
    activity: Activity
    command: str
    engine: str
    rates: tuple[BesideAtRate, ...]


def measure_beside(
    engine: LoadJob, rates_hz: tuple[int, ...], segments: int, segment_s: float,
    say: Callable[[str], None],
) -> tuple[BesideAtRate, ...]:  # fmt: skip
    """Measure at every rate; the order within a pair of segments reverses each time."""
    found = []
    with _control_process() as start, timed_engine(engine) as since:
        for rate_hz in rates_hz:
            say(f"inference beside the servo at {rate_hz} Hz ...")
            took: dict[bool, list[np.ndarray]] = {False: [], True: []}
            done: list[ControlDone] = []
            for index in range(segments):
                for beside in (False, True) if index % 2 == 0 else (True, False):
                    stop = start(rate_hz) if beside else None
                    time.sleep(SETTLE_S)
                    begin_ns = monotonic_ns()
                    time.sleep(segment_s)
                    # On a starved host a segment lasts until an inference has fitted into it.
                    while not len(since(begin_ns, monotonic_ns())):
                        if monotonic_ns() - begin_ns > PATIENCE_NS:
                            break
                        time.sleep(segment_s)
                    end_ns = monotonic_ns()
                    if stop is not None:
                        done.append(stop())
                    took[beside].append(since(begin_ns, end_ns))
            found.append(_at_rate(rate_hz, took, tuple(done)))
    return tuple(found)


def _at_rate(
    rate_hz: int, took: dict[bool, list[np.ndarray]], done: tuple[ControlDone, ...]
) -> BesideAtRate:
    alone = percentiles(np.concatenate(took[False]))
    beside = percentiles(np.concatenate(took[True]))
    if alone is None or beside is None or any(not len(s) for side in took.values() for s in side):
        raise BesideFailed("no inference fits into a segment", next_command="a longer --segment-s")
    medians = {side: tuple(float(np.median(s)) for s in took[side]) for side in took}
    return BesideAtRate(
        rate_hz=rate_hz,
        alone_ms=alone,
        beside_ms=beside,
        segment_alone_ms=medians[False],
        segment_beside_ms=medians[True],
        comparison=compare_samples(
            (f"with the servo at {rate_hz} Hz", medians[True]), ("without", medians[False]),
            QUANTITY, paired=True,
        ),
        control=done,
    )  # fmt: skip


@contextmanager
def _control_process() -> Iterator[Callable[[int], Callable[[], ControlDone]]]:
    """Yield what starts the control loop, and returns what stops it."""
    stream = ActionStream.create()
    process = subprocess.Popen(
        [sys.executable, "-m", "dvla.benchmarks.servo.control"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(stream.fd,),
    )  # fmt: skip
    to_child, from_child = process.stdin, process.stdout
    assert to_child is not None and from_child is not None
    over = threading.Event()
    writer = threading.Thread(target=publish_motion, args=(stream, over))
    writer.start()

    def tell(line: bytes) -> bytes:
        to_child.write(line + b"\n")
        to_child.flush()
        answer = from_child.readline()
        if not answer:
            raise BesideFailed("the control process ended", got=f"exit status {process.wait()}")
        return answer

    def start(rate_hz: int) -> Callable[[], ControlDone]:
        tell(msgspec.json.encode(ControlJob(rate_hz=rate_hz, stream_fd=stream.fd)))
        return lambda: msgspec.json.decode(tell(b""), type=ControlDone)

    try:
        yield start
    finally:
        over.set()
        writer.join()
        to_child.close()
        from_child.close()
        process.wait()
        stream.close()
