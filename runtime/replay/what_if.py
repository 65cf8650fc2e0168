"""What if: the recorded chunks under other switches, through scheduler, servo and gate.

The chunks are the ones that the policy made in the run: it is not asked again. With continuous
inference on both sides inferences begin and end when they did. Without it they begin when the
scheduler asks: each then takes the newest recorded chunk whose observation existed by then, and the
latency of that chunk. Holds and new episodes come when they came. The arm is one that follows
exactly, so that what differs is the runtime's doing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args, get_type_hints

import msgspec

from dvla.runtime.config import SchedulerConfig
from dvla.runtime.errors import ConfigError
from dvla.runtime.events import (
    ActionInForce,
    AnyEvent,
    ChunkArrived,
    ChunkMerged,
    InferenceStarted,
    SchedulerStateChanged,
    SchedulerTold,
)
from dvla.runtime.percentiles import Percentiles, percentiles
from dvla.runtime.replay.following_arm import Motion, move
from dvla.runtime.replay.inputs import RunInputs, read_inputs
from dvla.runtime.replay.scheduler_stage import INPUTS, SchedulerRerun
from dvla.runtime.run_data import RunData
from dvla.runtime.run_folder import RunFolderError
from dvla.runtime.scheduler_state import SchedulerCounters

TRUTHS = {"true": True, "on": True, "yes": True, "1": True}
TRUTHS |= {"false": False, "off": False, "no": False, "0": False}


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What scheduler, servo and gate made of the chunks under some switches.

    Attributes:
        age_s: from an action's observation to when it came into force.
        seam_m / seam_rad: jumps across the seams.
        too_slow: times that the policy was found too slow.
        motion: what the servo and the gate made of it.
    """

    scheduler: SchedulerConfig
    counters: SchedulerCounters
    age_s: Percentiles | None
    seam_m: Percentiles | None
    seam_rad: Percentiles | None
    too_slow: int
    motion: Motion


class WhatIf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same recorded chunks under the run's switches and under others."""

    run: str
    changed: dict[str, str]
    before: Outcome
    after: Outcome
    notes: tuple[str, ...] = ()


def changed_config(config: SchedulerConfig, settings: Sequence[str]) -> SchedulerConfig:
    """Return the switches with ``name=value`` settings applied.

    Raises:
        ConfigError: a setting is none, or its value is not one of the switch's.
    """
    hints = get_type_hints(SchedulerConfig)
    values: dict[str, object] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in hints:
            raise ConfigError(
                "--set names no switch of the scheduler",
                got=repr(setting),
                expected="name=value, as in --set laas=false",
                choices=sorted(hints),
            )
        values[name] = _value(name, hints[name], text.strip())
    return msgspec.convert({**msgspec.to_builtins(config), **values}, SchedulerConfig)


def _value(name: str, kind: object, text: str) -> object:
    if kind is bool:
        if text.lower() not in TRUTHS:
            raise ConfigError(f"--set {name} is on or off", got=repr(text), choices=sorted(TRUTHS))
        return TRUTHS[text.lower()]
    choices = get_args(kind)
    if choices:
        if text not in choices:
            raise ConfigError(f"--set {name} has no such value", got=repr(text), choices=choices)
        return text
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        raise ConfigError(
            f"--set {name} is a number", got=repr(text), expected="a number"
        ) from None


def what_if(data: RunData, settings: Sequence[str]) -> WhatIf:
    """Run the recorded chunks under the run's switches and under changed ones.

    Raises:
        RunFolderError: the run was recorded without what a replay needs.
        ConfigError: a setting is wrong, or asks for chunks that the run never made.
    """
    inputs = read_inputs(data.folder)
    if not len(data.calls):
        raise RunFolderError(
            f"{data.folder.path} does not say when its arm was controlled, so that --set cannot "
            "move one",
            got=f"no {data.folder.calls.name}, as where the controller runs by itself",
            expected="a run that started its own arm controller (no --arm-address)",
        )
    config = changed_config(inputs.scheduler, settings)
    if config.ci and not inputs.scheduler.ci:
        raise ConfigError(
            "the run had continuous inference off, so the chunks that it would have made were "
            "never made",
            got="--set ci=true",
            expected="a run recorded with --ci, which can be replayed without",
        )
    notes = []
    if config.seam == "rtc" and inputs.scheduler.seam != "rtc":
        notes.append("rtc guides the sampling; the recorded chunks were sampled without a guide.")
    if not config.ci:
        notes.append("Inferences begin when the scheduler asks, on the newest recorded chunk.")
    return WhatIf(
        run=str(data.folder.path),
        changed={setting.partition("=")[0]: setting.partition("=")[2] for setting in settings},
        before=_outcome(data, inputs, inputs.scheduler),
        after=_outcome(data, inputs, config),
        notes=tuple(notes),
    )


def _outcome(data: RunData, inputs: RunInputs, config: SchedulerConfig) -> Outcome:
    rerun = SchedulerRerun(inputs, config)
    told = [event for event in data.events if isinstance(event, INPUTS)]
    if config.ci:
        for event in told:
            rerun.tell(event)
    else:
        _tell_on_demand(rerun, told)
    rerun.scheduler.advance(data.end_ns)
    merged = [event for event in rerun.events if isinstance(event, ChunkMerged)]
    seams = [event for event in merged if event.seam_m > 0.0 or event.seam_rad > 0.0]
    states = [event for event in rerun.events if isinstance(event, SchedulerStateChanged)]
    ages = [(e.t_ns - e.t_obs_ns) / 1e9 for e in rerun.events if isinstance(e, ActionInForce)]
    return Outcome(
        scheduler=config,
        counters=rerun.scheduler.counters,
        age_s=percentiles(ages),
        seam_m=percentiles([event.seam_m for event in seams]),
        seam_rad=percentiles([event.seam_rad for event in seams]),
        too_slow=sum(event.state == "too_slow" for event in states),
        motion=move(data, inputs, rerun.publications),
    )


def _tell_on_demand(rerun: SchedulerRerun, told: Sequence[AnyEvent]) -> None:
    """Begin an inference whenever the scheduler asks for one, with the chunks that there are."""
    begun = {event.sequence: event for event in told if isinstance(event, InferenceStarted)}
    chunks = [event for event in told if isinstance(event, ChunkArrived)]
    others = [event for event in told if isinstance(event, SchedulerTold)]
    scheduler = rerun.scheduler
    used_ns, place = -1, 0
    arrival: ChunkArrived | None = None
    for chunk in chunks:
        start = begun.get(chunk.sequence)
        if start is None:
            continue
        # The turn at which this chunk's inference began is the next chance to begin one.
        now_ns = start.t_ns
        while arrival is not None or place < len(others):
            due = [e for e in (arrival, others[place] if place < len(others) else None) if e]
            following = min(due, key=lambda event: event.t_ns)
            if following.t_ns > now_ns:
                break
            if following is arrival:
                arrival = None
            else:
                place += 1
            rerun.tell(following)
        scheduler.advance(now_ns)
        if arrival is not None or not scheduler.wants_inference(now_ns):
            continue
        if start.t_obs_ns <= used_ns:
            continue
        used_ns = start.t_obs_ns
        ticket = scheduler.begin_inference(now_ns, start.t_obs_ns)
        arrival = msgspec.structs.replace(
            chunk, sequence=ticket.sequence, generation=ticket.generation
        )
    if arrival is not None:
        rerun.tell(arrival)
