"""One fault, measured: how long until the arm held, how far it went, what was left."""

from __future__ import annotations

import itertools
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dvla.benchmarks.faults.cases import Case
from dvla.benchmarks.faults.doubles.trigger import FILE, KIND
from dvla.benchmarks.faults.envelope import outside
from dvla.benchmarks.faults.live import WatchedRun
from dvla.runtime.messages import ArmState
from dvla.runtime.robots import robot_by_name
from dvla.runtime.run_data import load_run
from dvla.runtime.run_folder import RunFolderError

MOVING_S = 1.5
WATCH_S = 4.0
FINISH_S = 40.0
LEFT_BEHIND_S = 1.5
STILL_M = 2e-6
"""Shorter steps between two states are no motion."""
RESTED_NS = 500_000_000
SILENCE_NS = 300_000_000
"""A controller that says nothing for so long commands nothing either: it is gone, or stopped."""
HOLD_BOUND_S = 3.0
"""Longest time to hold that passes; stalls of the policy are noticed after 2 s."""


class FaultResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of one fault.

    Attributes:
        hold_s: from the fault until the commanded pose rested for good; None when
            it went on.
        travelled_m: commanded path from the fault to the hold, or to the end of the watch.
        outside: setpoints sent to the driver outside the envelope, judged apart from the gate.
        judged: setpoints that were judged.
        exit_code: of dvla-run; 130 when the campaign ended it with Ctrl-C.
        left_behind: files and processes that should be gone.
        message: what the run said of it.
        problems: why the fault did not pass; empty when it did.
    """

    name: str
    group: str
    what: str
    hold_s: float | None
    travelled_m: float
    outside: int
    judged: int
    exit_code: int
    left_behind: tuple[str, ...]
    message: str
    problems: tuple[str, ...]


def measure(case: Case, *, unsafe: str = "", light: bool = False) -> FaultResult:
    """Start a run, wait until it moves, do the fault to it, and look at what happens.

    Args:
        case: the fault.
        unsafe: "gate" or "watchdog": run with an arm process that lacks it.
        light: cameras paint instead of rendering.

    Raises:
        RunNeverFollowed: the run never moved its arm.
    """
    with tempfile.TemporaryDirectory(prefix="dvla-fault-", dir="/tmp") as made:
        folder = Path(made)
        trigger = folder / "trigger"
        doubles = {**case.doubles, **({"arm": "unsafe_arm"} if unsafe else {})}
        env = {KIND: case.name, FILE: str(trigger), "DVLA_FAULT_UNSAFE": unsafe}
        if light:
            doubles["camera"], env["DVLA_FAULT_LIGHT"] = "camera", "1"
        out = _small_disk(folder, case.out_kb) if case.out_kb else None
        try:
            run = WatchedRun(folder, doubles=doubles, env=env, out=out)
            try:
                return _observe(case, run, trigger)
            finally:
                run.close()
        finally:
            if out is not None:
                subprocess.run(["umount", "--lazy", str(out)], check=False)


def _small_disk(folder: Path, size_kb: int) -> Path:
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(disk)]
    subprocess.run(mount, check=True, capture_output=True)
    return disk


def _observe(case: Case, run: WatchedRun, trigger: Path) -> FaultResult:
    run.until_following(MOVING_S)
    fault_ns = time.monotonic_ns()
    if case.inject is None:
        trigger.touch()
    else:
        case.inject(run)
    end = time.monotonic() + WATCH_S
    while time.monotonic() < end:
        run.watch()
        if run.ended:  # what outlives it gets a moment to end
            time.sleep(LEFT_BEHIND_S)
            break
        time.sleep(0.01)
    run.watch()
    ended_by_itself, end_ns = run.ended, time.monotonic_ns()
    watched = len(run.states)
    code = run.finish(FINISH_S)
    run.watch()
    # Stalls of the supervisor's wait may end the run only now; then all states count.
    states = run.states if ended_by_itself or code != 130 else run.states[:watched]
    hold_s, travelled_m = hold_of(states, fault_ns, end_ns)
    bad, judged = _outside(run)
    left = tuple(run.left_behind())
    message = _message(run.text) or _event_of(run, fault_ns)
    result = FaultResult(
        name=case.name,
        group=case.group,
        what=case.what,
        hold_s=hold_s,
        travelled_m=travelled_m,
        outside=bad,
        judged=judged,
        exit_code=code,
        left_behind=left,
        message=message,
        problems=(),
    )
    return msgspec.structs.replace(result, problems=problems(case, result))


def hold_of(states: list[ArmState], fault_ns: int, end_ns: int) -> tuple[float | None, float]:
    """Return the time until the commanded pose rested for good [s], and the path until then [m].

    The arm rests when its commanded pose moves no more, in whichever mode. A controller that falls
    silent commands nothing from its last state on.
    """
    after = [state for state in states if state.t_ns >= fault_ns]
    times = [fault_ns, *(state.t_ns for state in after), end_ns]
    silent = [later - one > SILENCE_NS for one, later in itertools.pairwise(times)]
    if True in silent:
        after = after[: silent.index(True)]
    if not after:
        return 0.0, 0.0
    path = np.array([state.commanded[:3] for state in after])
    moving = np.flatnonzero(np.linalg.norm(np.diff(path, axis=0), axis=1) > STILL_M)
    last = int(moving[-1]) + 1 if len(moving) else 0
    if True not in silent and end_ns - after[last].t_ns < RESTED_NS:
        return None, _length(path)
    return (after[last].t_ns - fault_ns) / 1e9, _length(path)


def _length(path: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def _outside(run: WatchedRun) -> tuple[int, int]:
    """Judge every setpoint that the arm's journal holds; without one, what was seen outside."""
    limits = robot_by_name("franka").twin_limits
    folder = run.folder()
    if folder is not None:
        try:
            calls = load_run(folder, calls=True).calls
        except RunFolderError:
            calls = np.zeros(0)
        if len(calls):
            turns = calls[calls["kind"] == 1]
            return outside(turns["t_ns"], turns["commanded"], limits), len(turns)
    path = np.array([state.commanded for state in run.states])
    times = np.array([state.t_ns for state in run.states], np.int64)
    return outside(times, path, limits), len(path)


def _message(text: str) -> str:
    """Return the sentence with which a run ended by itself, or an empty string."""
    for pattern in (r"^\S*(?:run|run\.py): (.+)$", r"(The recording ended here[^.]*\.)"):
        found = re.findall(pattern, text, re.MULTILINE)
        if found:
            return re.sub(r" \(pid \d+\)", "", str(found[-1]))[:220]
    return ""


def _event_of(run: WatchedRun, fault_ns: int) -> str:
    """Return the most telling event that a run recorded after the fault, in words."""
    folder = run.folder()
    if folder is None or not (folder / "events.jsonl").exists():
        return ""
    best = (0, "")
    for line in (folder / "events.jsonl").read_bytes().splitlines():
        try:
            event = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue  # a full disk ends in half a line
        if event.get("t_ns", 0) >= fault_ns:
            best = max(best, _telling(event), key=lambda pair: pair[0])
    return best[1][:220]


def _telling(event: dict[str, Any]) -> tuple[int, str]:
    """Return how much an event tells of a fault, and its words."""
    reason = str(event.get("reason", ""))
    match event.get("event"):
        case "note" if event.get("source") == "policy":
            return 5, str(event.get("text"))
        case "chunk_discarded" if reason not in ("late", "superseded", "hold"):
            return 4, f"chunks discarded: {reason}"
        case "command_rejected":
            return 3, f"command rejected: {reason} {event.get('detail', '')}".strip()
        case "arm_mode" if event.get("mode") == "stopping" and not reason.startswith("hold"):
            return 2, f"arm stops: {reason}"
        case "scheduler_state" if event.get("state") == "underrun":
            return 1, "the stream ran dry"
    return 0, ""


def problems(case: Case, result: FaultResult) -> tuple[str, ...]:
    """Return what is wrong with a result, in sentences."""
    found = []
    if result.outside:
        found.append(f"{result.outside} setpoints outside the envelope")
    if not result.judged:
        found.append("no setpoint could be judged")
    if result.left_behind:
        found.append(f"left behind: {', '.join(result.left_behind)}")
    if case.outcome in ("ends", "holds"):
        if result.hold_s is None:
            found.append("the arm went on")
        elif result.hold_s > HOLD_BOUND_S:
            found.append(f"the arm held after {result.hold_s:.1f} s")
    if case.outcome == "ends" and result.exit_code not in case.exit_codes:
        found.append(f"exit code {result.exit_code}, not {case.exit_codes}")
    if case.outcome == "goes_on" and result.exit_code not in (0, 130):
        found.append(f"the run ended with {result.exit_code}")
    return tuple(found)
