"""The table of processes: every rate and priority of a run in one place.

Liveness follows from the rates: a process is stalled when it has been silent for ten of its
periods, and on rate when it reaches 90 % of the declared one.
"""

from __future__ import annotations

import signal

import msgspec

STALL_PERIODS = 10
ON_RATE = 0.9


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a run.

    Attributes:
        name: what it is called; its module is ``dvla.runtime.processes.<name>``.
        rate_hz: turns of its loop per second.
        realtime_priority: SCHED_FIFO priority to ask for, 0 for none.
        nice: niceness to take where it is not real-time.
        min_stall_s: nobody is called dead for a scheduling hiccup of the host, nor the recorder
            for a slow disk. The arm has deadlines of its own, which are shorter.
        service: it serves the run and does not carry it: while it is stalled the run goes on.
        death_signal: what it gets from the kernel when the supervisor dies. The arm controller
            and the recorder need a moment to stop the arm and to close files; a process that may
            sit in a long inference call is killed.
    """

    name: str
    rate_hz: float
    realtime_priority: int = 0
    nice: int = 0
    min_stall_s: float = 2.0
    service: bool = False
    death_signal: int = signal.SIGKILL

    @property
    def stall_ns(self) -> int:
        """Silence after which the process counts as stalled [ns]."""
        return int(1e9 * max(self.min_stall_s, STALL_PERIODS / self.rate_hz))


PROCESSES = {
    spec.name: spec
    for spec in (
        ProcessSpec(
            name="recorder",
            rate_hz=20,
            nice=10,
            min_stall_s=10.0,
            service=True,
            death_signal=signal.SIGTERM,
        ),
        ProcessSpec(
            name="arm",
            rate_hz=250,
            realtime_priority=30,
            min_stall_s=0.5,
            death_signal=signal.SIGTERM,
        ),
        ProcessSpec(name="camera", rate_hz=25, nice=0),
        ProcessSpec(name="policy", rate_hz=100, nice=5),
        ProcessSpec(name="servo", rate_hz=250, realtime_priority=20, min_stall_s=0.5),
    )
}


def process_spec(name: str, servo_hz: float) -> ProcessSpec:
    """Return a process as a run declares it: its servo turns at the rate that was asked for."""
    spec = PROCESSES[name]
    return msgspec.structs.replace(spec, rate_hz=servo_hz) if name == "servo" else spec
