"""Everything that runs beside inference on a robot's host, in one process: servo, gate, IK.

It plans and dispatches at the servo rate, encodes each command, judges it as the arm controller
does, and solves inverse kinematics for what the arm is sent, as a driver without its own does. One
line on standard input starts it, the next one stops it; it answers both.
"""

from __future__ import annotations

import select
import sys

import msgspec
import numpy as np

from dvla.benchmarks.servo.loop import HOME, SESSION
from dvla.bindings import ActionStream, ServoClock
from dvla.runtime.arm import ArmController
from dvla.runtime.config import ServoConfig
from dvla.runtime.events import Event
from dvla.runtime.ik import DifferentialIk
from dvla.runtime.messages import Command, LeaseRequest
from dvla.runtime.pose import Float64
from dvla.runtime.processes.table import PROCESSES
from dvla.runtime.realtime import enter_realtime
from dvla.runtime.robots import robot_by_name
from dvla.runtime.robots.base import ArmReading
from dvla.runtime.robots.franka_geometry import FRANKA_JOINTS
from dvla.runtime.servo import ServoCore


class ControlJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to run: ``stream_fd`` is the inherited stream to follow."""

    rate_hz: int
    stream_fd: int
    priority: int = PROCESSES["servo"].realtime_priority


class ControlDone(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was done until the stop.

    Attributes:
        ticks / overruns: served deadlines, and those that had passed unserved.
        accepted / rejected: commands, by the gate.
        moved_m: path that the driver was sent.
        setup: what the kernel granted.
    """

    ticks: int
    overruns: int
    accepted: int
    rejected: dict[str, int]
    moved_m: float
    setup: str


class IkDriver:
    """An arm that is where it was sent, after inverse kinematics.

    Args:
        period_s: time between setpoints.
    """

    def __init__(self, period_s: float) -> None:
        self._ik = DifferentialIk(period_s, FRANKA_JOINTS)
        self._at = np.array(HOME)
        self.moved_m = 0.0
        for _ in range(60):  # until the elbow rests
            self._ik.step(self._at)

    def read(self, now_ns: int) -> ArmReading:
        """Return where it is."""
        q = self._ik.q
        return ArmReading(
            t_ns=now_ns, setpoint=self._at, twist=np.zeros(6), q=q, dq=np.zeros_like(q), fault=""
        )

    def command(self, setpoint: Float64, now_ns: int) -> None:
        """Go to a setpoint (8,)."""
        del now_ns
        self.moved_m += float(np.linalg.norm(setpoint[:3] - self._at[:3]))
        self._at = setpoint.copy()
        self._ik.step(setpoint)

    def close(self) -> None:
        """Let go of nothing."""


class NoEvents:
    """Takes events and forgets them."""

    def emit(self, event: Event) -> None:
        """Forget an event."""


def control(stream: ActionStream, job: ControlJob) -> ControlDone:
    """Follow the stream until a line comes on standard input."""
    config = ServoConfig(rate_hz=job.rate_hz)
    limits = robot_by_name("franka").twin_limits
    core = ServoCore(stream, limits, config, session=SESSION)
    driver = IkDriver(config.period_ns / 1e9)
    setup = enter_realtime(priority=job.priority).text
    clock = ServoClock(config.period_ns)
    now_ns = clock.wait()
    arm = ArmController(driver, limits, NoEvents(), now_ns, session=2, twin=True)
    arm.handle(LeaseRequest(session=SESSION, sequence=1, holder="bench"), now_ns)
    encoder, decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Command)
    while not select.select([sys.stdin], [], [], 0)[0]:
        now_ns = clock.wait()
        arm.tick(now_ns)
        command = core.tick(clock.deadline_ns, arm.state(now_ns))
        if command is not None:
            arm.on_command(decoder.decode(encoder.encode(command)), now_ns)
    state = arm.state(now_ns)
    return ControlDone(
        ticks=clock.ticks,
        overruns=clock.overruns,
        accepted=state.accepted,
        rejected=state.rejected,
        moved_m=driver.moved_m,
        setup=setup,
    )


def main() -> int:
    """Run jobs until standard input ends."""
    stream: ActionStream | None = None
    # Unbuffered: what a buffer has read ahead, select does not see.
    told = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    while line := told.readline():
        job = msgspec.json.decode(line, type=ControlJob)
        stream = stream or ActionStream.attach(job.stream_fd)
        print("started", flush=True)
        done = control(stream, job)
        told.readline()
        print(msgspec.json.encode(done).decode(), flush=True)
    return 0


if __name__ == "__main__":
    from dvla.engines.cli_errors import run_main

    sys.exit(run_main(main))
