"""The table of faults: what is done to a run, and what must come of it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from dvla.benchmarks.faults import inject, inject_cable
from dvla.benchmarks.faults.live import PROCESSES, WatchedRun
from dvla.benchmarks.faults.live_hosts import WatchedHosts

Outcome = Literal["ends", "holds", "goes_on", "any"]
"""ends: the run stops with the arm at rest; holds: the arm stops, the run waits; goes_on: neither
is needed; any: both are right, as long as nothing leaves the envelope."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One fault.

    Attributes:
        group: heading in the table.
        what: it is, in words.
        outcome: what must come of it.
        exit_codes: that are right when the run ends by itself.
        doubles: process name -> module of ``doubles``.
        inject: what is done; None pulls the double's trigger.
        out_kb: size of the disk that the run writes to, 0 for the usual one.
        hosts: the arm is on another host.
        stops_the_arm: the controller itself must say that the arm does not follow any more.
        quick: part of the short campaign.
    """

    name: str
    group: str
    what: str
    outcome: Outcome
    exit_codes: tuple[int, ...] = (1,)
    doubles: dict[str, str] = {}
    inject: Callable[[WatchedRun], None] | None = None
    out_kb: int = 0
    hosts: bool = False
    stops_the_arm: bool = False
    quick: bool = False


def _killed(name: str) -> Case:
    return Case(
        name=f"kill_{name}",
        group="Processes killed (SIGKILL)",
        what=name,
        outcome="ends",
        exit_codes=(-9,) if name == "supervisor" else (1,),
        inject=lambda run: run.signal(name, signal.SIGKILL),
        quick=name in ("servo", "supervisor"),
    )


def _stopped(*names: str, outcome: Outcome = "ends") -> Case:
    def stop(run: WatchedRun) -> None:
        for name in names:
            run.signal(name, signal.SIGSTOP)

    return Case(
        name=f"stop_{'_and_'.join(names)}",
        group="Processes stopped (SIGSTOP)",
        what=" and ".join(names),
        outcome=outcome,
        inject=stop,
        stops_the_arm="servo" in names,
        quick=names == ("servo", "supervisor"),
    )


def _slowed(name: str) -> Case:
    return Case(
        name=f"slow_{name}",
        group="Processes slowed (half of the time stopped, 40 ms each)",
        what=name,
        outcome="any",
        inject=lambda run: inject.slow_down(run, name, seconds=3.0),
    )


def _camera(kind: str, what: str, outcome: Outcome) -> Case:
    return Case(
        name=kind, group="Cameras", what=what, outcome=outcome, doubles={"camera": "camera"}
    )


def _chunk(kind: str, what: str, outcome: Outcome, *, quick: bool = False) -> Case:
    return Case(
        name=kind,
        group="Chunks",
        what=what,
        outcome=outcome,
        doubles={"policy": "policy"},
        quick=quick,
    )


def _cable(
    name: str, what: str, outcome: Outcome, act: Callable[[WatchedHosts], None], **kwargs: Any
) -> Case:
    def inject_it(run: WatchedRun) -> None:
        assert isinstance(run, WatchedHosts)
        act(run)

    return Case(
        name=name,
        group="Two hosts (network namespaces, clocks 5000 s apart)",
        what=what,
        outcome=outcome,
        inject=inject_it,
        hosts=True,
        **kwargs,
    )


def _wire(name: str, what: str, act: Callable[[WatchedRun], None]) -> Case:
    return Case(name=name, group="Wire", what=what, outcome="goes_on", inject=act)


CASES: tuple[Case, ...] = (
    *(_killed(name) for name in (*PROCESSES, "supervisor")),
    *(_stopped(name) for name in ("arm", "camera", "policy", "servo")),
    _stopped("recorder", outcome="goes_on"),
    _stopped("supervisor", outcome="goes_on"),
    _stopped("servo", "supervisor", outcome="holds"),
    *(_slowed(name) for name in (*PROCESSES, "supervisor")),
    _camera("camera_silent", "no frame any more", "holds"),
    _camera("camera_drops", "two of three frames are lost", "any"),
    _camera("camera_frozen", "the last image for ever, with new stamps", "holds"),
    _camera("camera_black", "black images", "holds"),
    _camera("camera_swap", "the images of the two cameras change places", "holds"),
    _camera("camera_future", "stamps a second ahead", "holds"),
    _chunk("nan_chunk", "NaN in an action", "holds"),
    _chunk("huge_chunk", "every action at 1000 m", "holds", quick=True),
    _chunk("leaving_chunk", "every action 0.3 m under the table", "any"),
    _chunk("tilting_chunk", "the hand flat above the table, where links touch it", "any"),
    _chunk("jumping_chunk", "seams of 56 mm", "goes_on"),
    _chunk("stale_chunk", "observations 5 s old", "holds"),
    _chunk("duplicated_chunk", "every chunk twice", "goes_on"),
    _chunk("reordered_chunk", "every chunk is the one before: a policy late by one more", "any"),
    _chunk("future_chunk", "observations from 1 s ahead", "holds"),
    _chunk("other_episode_chunk", "chunks of another episode", "holds"),
    _chunk("wrong_shape_chunk", "six columns instead of seven", "holds"),
    Case(
        name="engine_out_of_memory", group="Engine and disk",
        what="the engine cannot allocate", outcome="ends", doubles={"policy": "policy"},
    ),
    Case(
        name="disk_full", group="Engine and disk", what="a disk of 300 kB", outcome="goes_on",
        out_kb=300, inject=lambda run: None,
    ),
    Case(
        name="clock_forward", group="Clock", what="the servo's clock steps 1 s forward",
        outcome="holds", doubles={"servo": "servo"},
    ),
    Case(
        name="clock_back", group="Clock", what="the servo's clock steps 1 s back",
        outcome="holds", doubles={"servo": "servo"},
    ),
    _wire("garbage", "random bytes to every socket", inject.garbage),
    _wire("oversized", "4 MiB messages to every socket", inject.oversized),
    _wire("stranger", "commands of another session", inject.stranger),
    Case(
        name="forged_nan", group="Wire", what="NaN under the commander's own session",
        outcome="any", inject=inject.forged_nan,
    ),
    Case(
        name="forged_jump", group="Wire", what="a target 0.3 m away, under the same session",
        outcome="any", inject=inject.forged_jump, quick=True,
    ),
    Case(
        name="control_flood", group="Wire", what="5000 requests at once", outcome="goes_on",
        inject=inject.control_flood,
    ),
    _cable("net_delay", "40 ms more, 10 ms of jitter", "any", inject_cable.delayed(40.0, 10.0)),
    _cable("net_late", "300 ms more", "holds", inject_cable.delayed(300.0, 0.0)),
    _cable("net_loss", "a fifth of the packets lost", "any", inject_cable.lossy(0.2)),
    _cable("net_loss_most", "four fifths of the packets lost", "any", inject_cable.lossy(0.8)),
    _cable("net_break", "the cable out for 0.7 s", "any", inject_cable.broken(0.7)),
    _cable("net_partition", "the cable out for good", "ends", inject_cable.cut, stops_the_arm=True),
    _cable("net_wrong_key", "a key that is not allowed", "goes_on", inject_cable.wrong_key),
    _cable("net_junk", "junk and oversized frames", "goes_on", inject_cable.junk),
    _cable("net_kill_arm", "dvla-arm run killed", "ends", inject_cable.kill_arm),
)  # fmt: skip


def case_by_name(name: str) -> Case:
    """Return a case."""
    return next(case for case in CASES if case.name == name)
