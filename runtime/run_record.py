"""What a run's manifest says: the record of what ran, on what, and how it was asked for."""

from __future__ import annotations

import sys

import dvla
from dvla.runtime.machine import describe_machine
from dvla.runtime.processes.settings import Settings
from dvla.runtime.run_config import RunConfig
from dvla.runtime.run_folder import RunManifest
from dvla.runtime.run_inputs import delays_s


def manifest_of(
    config: RunConfig,
    settings: Settings,
    pids: dict[str, int],
    *,
    started_utc: str,
    started_ns: int,
    ending: str = "",
) -> RunManifest:
    """Return the manifest of a run on this machine, by this command line.

    Args:
        config: of the run.
        settings: that its processes were told.
        pids: process name -> process id.
        started_utc: wall-clock time of the start, ISO 8601.
        started_ns: the same moment on the monotonic clock.
        ending: why the run ended before its time, in words.
    """
    return RunManifest(
        robot=settings.robot,
        sim=config.sim,
        policy=settings.bundle or settings.policy,
        task=settings.task,
        started_utc=started_utc,
        started_ns=started_ns,
        control_period_s=settings.control_period_s,
        chunk_size=settings.chunk_size,
        servo_rate_hz=settings.servo.rate_hz,
        version=dvla.__version__,
        machine=describe_machine(),
        command=tuple(sys.argv),
        pids=pids,
        shadow=config.in_shadow and not config.execute,
        ending=ending,
        delays_s=delays_s(settings),
    )
