"""The servo loop in a process of its own: the pacer and the core that drive arms, without sockets.

It runs a segment for every line on standard input, and answers each with a line. Another process
publishes what it follows, as the policy process does.
"""

from __future__ import annotations

import sys

import msgspec
import numpy as np

from dvla.benchmarks.servo.segment import WARM_UP_S, Segment
from dvla.bindings import ActionStream, ServoClock
from dvla.runtime.clock import monotonic_ns
from dvla.runtime.config import ServoConfig
from dvla.runtime.messages import ArmState
from dvla.runtime.processes.table import PROCESSES
from dvla.runtime.realtime import enter_realtime
from dvla.runtime.robots import robot_by_name
from dvla.runtime.servo import ServoCore

SESSION = 1
HOME = (0.45, 0.0, 0.35, 0.0, 1.0, 0.0, 0.0, 1.0)


class SegmentJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One segment to run: ``stream_fd`` is the inherited stream to follow."""

    rate_hz: int
    duration_s: float
    stream_fd: int
    priority: int = PROCESSES["servo"].realtime_priority


def run_segment(stream: ActionStream, job: SegmentJob, setup: str) -> Segment:
    """Follow the stream for a while at one rate."""
    config = ServoConfig(rate_hz=job.rate_hz)
    core = ServoCore(stream, robot_by_name("franka").twin_limits, config, session=SESSION)
    encoder, buffer = msgspec.msgpack.Encoder(), bytearray()
    capacity = int(job.duration_s * job.rate_hz) + 2
    deadline_ns, woke_ns, dispatched_ns = np.zeros((3, capacity), np.int64)
    clock = ServoClock(config.period_ns)
    state = following_arm()
    start_ns = monotonic_ns()
    warm_ns = start_ns + int(WARM_UP_S * 1e9)
    end_ns = warm_ns + int(job.duration_s * 1e9)
    count, overruns_before = 0, 0
    while count < capacity:
        woke = clock.wait()
        deadline = clock.deadline_ns
        if deadline > end_ns:
            break
        command = core.tick(deadline, msgspec.structs.replace(state, t_ns=deadline))
        if command is not None:
            encoder.encode_into(command, buffer)
        if deadline <= warm_ns:
            overruns_before = clock.overruns
            continue
        deadline_ns[count], woke_ns[count] = deadline, woke
        dispatched_ns[count] = monotonic_ns()
        count += 1
    return Segment(
        period_ns=config.period_ns,
        deadline_ns=tuple(deadline_ns[:count].tolist()),
        woke_ns=tuple(woke_ns[:count].tolist()),
        dispatched_ns=tuple(dispatched_ns[:count].tolist()),
        overruns=clock.overruns - overruns_before,
        setup=setup,
    )


def following_arm() -> ArmState:
    """Return the state of an arm that follows the commander of this benchmark."""
    return ArmState(
        session=1,
        sequence=0,
        t_ns=0,
        mode="follow",
        reason="",
        arm_epoch=1,
        lease_session=SESSION,
        command_sequence=-1,
        measured=HOME,
        twist=(0.0,) * 6,
        q=(0.0,) * 7,
        commanded=HOME,
        tracking_m=0.0,
        tracking_rad=0.0,
        accepted=0,
        rejected={},
    )


def main() -> int:
    """Run segments until standard input ends."""
    stream: ActionStream | None = None
    setup = ""
    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=SegmentJob)
        if stream is None:
            stream = ActionStream.attach(job.stream_fd)
            setup = enter_realtime(priority=job.priority).text
        segment = run_segment(stream, job, setup)
        sys.stdout.buffer.write(msgspec.json.encode(segment) + b"\n")
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    from dvla.engines.cli_errors import run_main

    sys.exit(run_main(main))
