"""One fault, measured: how long until the arm held, how far it went, what was left."""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.faults.cases import Case
from dvla.benchmarks.faults.doubles.trigger import FILE, KIND
from dvla.benchmarks.faults.envelope import Judgement, judge
from dvla.benchmarks.faults.live import Plan, WatchedRun
from dvla.benchmarks.faults.live_hosts import WatchedHosts
from dvla.benchmarks.faults.telling import what_was_said
from dvla.runtime.robots import robot_by_name

MOVING_S = 1.5
WATCH_S = 4.0
FINISH_S = 40.0
LEFT_BEHIND_S = 1.5
JUDGED_BEFORE_NS = 2_000_000_000
"""Setpoints are judged from so long before the fault to the end of the run."""
STILL_M = 1e-6
"""Shorter steps between two setpoints are no motion."""
RESTED_NS = 500_000_000
SILENCE_NS = 300_000_000
"""A controller that sends nothing for so long is gone, stopped, or in fault."""
HOLD_BOUND_S = 3.0
"""Longest time to hold that passes; stalls of the policy are noticed after 2 s."""
STOPPED_MODES = ("hold", "idle", "fault", "shutdown")


class FaultResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of one fault.

    Attributes:
        hold_s: from the fault until the commanded pose rested for good; None when
            it went on.
        travelled_m: commanded path from the fault to the hold, or to the end of the watch.
        judgement: of the setpoints that the driver was sent, apart from the gate.
        exit_code: of dvla-run; 130 when the campaign ended it with Ctrl-C.
        arm_said: what the arm's controller said of itself at the end of the watch.
        left_behind: files and processes that should be gone.
        message: what the run said of it.
        load_1m: load average of the machine when the case began.
        tries: how often it was measured; a busy host fails, too.
        problems: why the fault did not pass; empty when it did.
    """

    name: str
    group: str
    what: str
    hold_s: float | None = None
    travelled_m: float = 0.0
    judgement: Judgement = Judgement()
    exit_code: int = 0
    arm_said: str = ""
    left_behind: tuple[str, ...] = ()
    message: str = ""
    load_1m: float = 0.0
    tries: int = 1
    problems: tuple[str, ...] = ()


def measure(case: Case, *, unsafe: str = "", light: bool = False) -> FaultResult:
    """Start a run, wait until it moves, do the fault to it, and look at what happens.

    Args:
        case: the fault.
        unsafe: "gate", "joint gate" or "watchdog": run with an arm process that lacks it.
        light: cameras paint instead of rendering.

    Raises:
        RunNeverFollowed: the run never moved its arm.
        DvlaError: what the case needs is missing on this host.
    """
    load_1m = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory(prefix="dvla-fault-", dir="/tmp") as made:
        folder = Path(made)
        trigger = folder / "trigger"
        doubles = {"arm": "traced_arm", **case.doubles}
        env = {KIND: case.name, FILE: str(trigger), "DVLA_FAULT_UNSAFE": unsafe}
        if light:
            doubles["camera"], env["DVLA_FAULT_LIGHT"] = "camera", "1"
        out = _small_disk(folder, case.out_kb) if case.out_kb else folder / "runs"
        try:
            plan = Plan(folder=folder, doubles=doubles, env=env, out=out)
            run = WatchedHosts(plan) if case.hosts else WatchedRun(plan)
            try:
                result = _observe(case, run, trigger)
            finally:
                run.close()
        finally:
            if case.out_kb:
                subprocess.run(["umount", "--lazy", str(out)], check=False)
    return msgspec.structs.replace(result, load_1m=load_1m)


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
    ended_by_itself, end_ns, arm_said = run.ended, time.monotonic_ns(), run.mode
    code = run.finish(FINISH_S)
    rows = run.rows()
    # A run that went on was ended by us: what came of that is no answer to the fault.
    seen = rows if ended_by_itself or code != 130 else rows[rows["t_ns"] <= end_ns]
    hold_s, travelled_m = hold_of(seen["t_ns"], seen["setpoint"], fault_ns, end_ns)
    rows = rows[rows["t_ns"] >= fault_ns - JUDGED_BEFORE_NS]
    result = FaultResult(
        name=case.name,
        group=case.group,
        what=case.what,
        hold_s=hold_s,
        travelled_m=travelled_m,
        judgement=_judged(rows),
        exit_code=code,
        arm_said=arm_said,
        left_behind=tuple(run.left_behind()),
        message=what_was_said(run, fault_ns),
    )
    return msgspec.structs.replace(result, problems=problems(case, result))


def _judged(rows: NDArray[Any]) -> Judgement:
    if not len(rows):
        return Judgement()
    limits = robot_by_name("franka").twin_limits
    return judge(rows["t_ns"], rows["setpoint"], rows["q"][0], limits)


def hold_of(
    t_ns: NDArray[np.int64], setpoints: NDArray[np.float64], fault_ns: int, end_ns: int
) -> tuple[float | None, float]:
    """Return the time until the commanded pose rested for good [s], and the path until then [m].

    Args:
        t_ns: (n,) times of what the driver was sent.
        setpoints: (n, 8).
        fault_ns: when the fault was done.
        end_ns: end of the watch.

    The arm rests when its commanded pose moves no more, in whichever mode. A controller that falls
    silent commands nothing from its last setpoint on.
    """
    after = t_ns >= fault_ns
    times = [fault_ns, *t_ns[after].tolist(), end_ns]
    path = setpoints[after, :3]
    silent = [later - one > SILENCE_NS for one, later in itertools.pairwise(times)]
    if True in silent:
        path = path[: silent.index(True)]
    if not len(path):
        return 0.0, 0.0
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    moving = np.flatnonzero(steps > STILL_M)
    last = int(moving[-1]) + 1 if len(moving) else 0
    if True not in silent and end_ns - times[1 + last] < RESTED_NS:
        return None, float(steps.sum())
    return (times[1 + last] - fault_ns) / 1e9, float(steps.sum())


def problems(case: Case, result: FaultResult) -> tuple[str, ...]:
    """Return what is wrong with a result, in sentences."""
    found = []
    judgement = result.judgement
    for what, outside in (
        ("the envelope", judgement.outside),
        ("the limits of the joints", judgement.joints_outside),
    ):
        if outside:
            told = ", ".join(
                f"{name} {count}"
                + (f" (up to {judgement.worst[name]:.1f} times)" if name in judgement.worst else "")
                for name, count in outside.items()
            )
            found.append(f"setpoints outside {what}: {told}")
    if not judgement.judged:
        found.append("no setpoint could be judged")
    if result.left_behind:
        found.append(f"left behind: {', '.join(result.left_behind)}")
    if case.outcome in ("ends", "holds"):
        if result.hold_s is None:
            found.append("the arm went on")
        elif result.hold_s > HOLD_BOUND_S:
            found.append(f"the arm held after {result.hold_s:.1f} s")
    if case.stops_the_arm and not result.arm_said.startswith(STOPPED_MODES):
        found.append(f"nobody commands the arm, and it says {result.arm_said!r}")
    if case.outcome == "ends" and result.exit_code not in case.exit_codes:
        found.append(f"exit code {result.exit_code}, not {case.exit_codes}")
    if case.outcome == "goes_on" and result.exit_code not in (0, 130):
        found.append(f"the run ended with {result.exit_code}")
    return tuple(found)
