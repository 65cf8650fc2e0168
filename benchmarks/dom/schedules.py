"""Published ways of scheduling chunks, by name: each is a setting of the scheduler's switches."""

from __future__ import annotations

from typing import Literal

from dvla.engines.errors import UsageError
from dvla.runtime.config import SchedulerConfig

ScheduleName = Literal[
    "streaming",
    "synchronous",
    "continuous",
    "stale-dropping",
    "blending",
    "temporal-ensembling",
    "rtc",
    "rtc-aged",
]
SCHEDULES: dict[ScheduleName, SchedulerConfig] = {
    # DynamicVLA: the next inference while a chunk is executed, stale actions dropped.
    "streaming": SchedulerConfig(),
    # Infer, execute the whole chunk, infer again: the arm waits for every inference.
    "synchronous": SchedulerConfig(ci=False, laas=False),
    # One half of streaming each.
    "continuous": SchedulerConfig(laas=False),
    "stale-dropping": SchedulerConfig(ci=False),
    "blending": SchedulerConfig(seam="blend"),
    # ACT: the weighted mean of all chunks that cover an instant, the oldest first.
    "temporal-ensembling": SchedulerConfig(seam="ensemble"),
    # Real-time chunking: the previous chunk guides the sampling of the next one.
    "rtc": SchedulerConfig(seam="rtc"),
    # ... by less of it the older its observation is.
    "rtc-aged": SchedulerConfig(seam="rtc", guide="aged"),
}


def schedule_of(name: ScheduleName | None, switches: SchedulerConfig) -> SchedulerConfig:
    """Return what a name stands for, or the switches where no name is given.

    Raises:
        UsageError: both are given.
    """
    if name is None:
        return switches
    if switches != SchedulerConfig():
        raise UsageError(
            f"--schedule {name} sets the switches of the scheduler itself",
            expected="either --schedule, or --ci, --laas, --seam and --guide",
        )
    return SCHEDULES[name]


def name_of(config: SchedulerConfig) -> str:
    """Return the name of a setting, or its switches where it has none."""
    for name, setting in SCHEDULES.items():
        if setting == config:
            return name
    switches = f"CI {'on' if config.ci else 'off'}, LAAS {'on' if config.laas else 'off'}"
    return f"{switches}, {config.seam}"
