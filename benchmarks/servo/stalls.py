"""Whether a stalled recorder, viewer or disk moves the servo: stretches of one run, compared.

One ``dvla-run --viz`` on the twin writes to a small disk of its own. In every round there is a calm
stretch and one with each stall, in an order that changes; between them everything catches up. The
servo's own ticks, which the recorder finds in a ring afterwards, say how late it was. What else the
machine does falls on all kinds of stretches alike.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from dvla.benchmarks.faults.live import Plan, WatchedRun
from dvla.benchmarks.report.activity import Activity, ActivityMeter
from dvla.benchmarks.report.machine import BenchMachine
from dvla.benchmarks.report.statistics import Comparison, compare_samples
from dvla.engines.errors import DvlaError, MissingDependency
from dvla.runtime.clock import monotonic_ns
from dvla.runtime.percentiles import Percentiles, percentiles
from dvla.runtime.run_data import RunData, load_run

CALM = "calm"
STALLS = ("recorder", "viewer", "disk")
SETTLE_S = 0.1
CATCH_UP_S = 1.5
DISK_MB = 256
WARM_UP_S = 5.0
FINISH_S = 60.0
QUANTITY = "p99 lateness of the servo"


class StallsFailed(DvlaError):
    """A stretch of the run cannot be told from its record."""

    exit_code = 1


class Stretches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All stretches of one kind.

    Attributes:
        stalled: ``calm``, ``recorder``, ``viewer`` or ``disk``.
        ticks / overruns: served deadlines, and deadlines that had passed unserved.
        lateness_us: waking minus deadline; busy_us: from waking until the command was sent.
        stretch_p99_us: p99 of the lateness of each stretch, which pairs the kinds.
        comparison: of those with the calm ones.
    """

    stalled: str
    ticks: int
    overruns: int
    lateness_us: Percentiles
    busy_us: Percentiles
    stretch_p99_us: tuple[float, ...]
    comparison: Comparison | None


class StallsReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything of one measurement.

    Attributes:
        unrecorded: what the recorder says was overtaken in the rings while it was stalled.
    """

    machine: BenchMachine
    activity: Activity
    command: str
    run: str
    rounds: int
    stretch_s: float
    unrecorded: str
    kinds: tuple[Stretches, ...]


@contextmanager
def freezable_disk(folder: Path) -> Iterator[Path]:
    """Yield the folder of a file system of its own, which can be frozen.

    Raises:
        MissingDependency: this host does not permit it.
    """
    image, place = folder / "disk.ext4", folder / "disk"
    place.mkdir()
    try:
        with image.open("wb") as file:
            file.truncate(DISK_MB << 20)
        for words in (("mkfs.ext4", "-q", image), ("mount", "-o", "loop", image, place)):
            subprocess.run([str(word) for word in words], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingDependency(
            "A disk that can be frozen needs root, loop devices and mkfs.ext4", got=str(error)
        ) from error
    try:
        yield place
    finally:
        subprocess.run(["fsfreeze", "-u", place], check=False, capture_output=True)
        subprocess.run(["umount", "--lazy", place], check=False)


def measure_stalls(
    rounds: int, stretch_s: float, say: Callable[[str], None]
) -> tuple[tuple[Stretches, ...], str, Activity]:
    """Stall one after the other in a run; returns the kinds, what went unrecorded, and the load."""
    with tempfile.TemporaryDirectory(prefix="dvla-stalls-", dir="/tmp") as made:
        folder = Path(made)
        with freezable_disk(folder) as disk:
            plan = Plan(
                folder=folder, doubles={"arm": "traced_arm"}, env={}, out=disk / "runs",
                flags=("--viz",),
            )  # fmt: skip
            run = WatchedRun(plan)
            try:
                run.until_following(WARM_UP_S)
                meter = ActivityMeter()
                spans = _stretches(run, disk, rounds, stretch_s, say)
                activity = meter.stop()
                run.finish(FINISH_S)
                found = run.folder()
                if found is None:
                    raise StallsFailed("the run left no folder", got=run.text[-300:])
                data = load_run(found)
            finally:
                run.close()
    return _kinds(data, spans), _unrecorded(data), activity


def _stretches(
    run: WatchedRun, disk: Path, rounds: int, stretch_s: float, say: Callable[[str], None]
) -> dict[str, list[tuple[int, int]]]:
    """Return when every kind of stretch began and ended [ns]."""
    pids = {"recorder": run.pids["recorder"], "viewer": _viewer_of(run.process.pid)}
    spans: dict[str, list[tuple[int, int]]] = {kind: [] for kind in (CALM, *STALLS)}
    for index in range(rounds):
        kinds = list(spans)
        for kind in kinds[index % len(kinds) :] + kinds[: index % len(kinds)]:
            say(f"round {index + 1}: {kind}")
            _stall(kind, pids, disk, begin=True)
            try:
                time.sleep(SETTLE_S)
                begin_ns = monotonic_ns()
                time.sleep(stretch_s)
                spans[kind].append((begin_ns, monotonic_ns()))
            finally:
                _stall(kind, pids, disk, begin=False)
            if run.ended:
                raise StallsFailed("the run ended during a stretch", got=run.text[-400:])
            time.sleep(CATCH_UP_S)
    return spans


def _stall(kind: str, pids: dict[str, int], disk: Path, *, begin: bool) -> None:
    if kind in pids:
        os.kill(pids[kind], signal.SIGSTOP if begin else signal.SIGCONT)
    elif kind == "disk":
        subprocess.run(["fsfreeze", "-f" if begin else "-u", disk], check=True)


def _viewer_of(supervisor: int) -> int:
    """Return the process id of a run's viewer."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    for pid in children:
        if b"dvla.runtime.cli.view" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    raise StallsFailed("the run has no viewer", next_command="pip install 'dvla[viz]'")


def _kinds(data: RunData, spans: dict[str, list[tuple[int, int]]]) -> tuple[Stretches, ...]:
    calm: tuple[float, ...] = ()
    found = []
    for kind, times in spans.items():
        parts = []
        for begin_ns, end_ns in times:
            at_ns = data.servo["deadline_ns"]
            part = data.servo[(at_ns >= begin_ns) & (at_ns < end_ns)]
            if len(part) < 2:
                raise StallsFailed("the servo's ticks of a stretch were lost", got=kind)
            parts.append(part)
        late_us = [part["lateness_ns"] / 1e3 for part in parts]
        lateness = percentiles(np.concatenate(late_us))
        busy = percentiles(np.concatenate([part["busy_ns"] / 1e3 for part in parts]))
        assert lateness is not None and busy is not None
        p99 = tuple(float(np.percentile(values, 99)) for values in late_us)
        calm = calm or p99
        found.append(
            Stretches(
                stalled=kind,
                ticks=sum(len(part) for part in parts),
                overruns=sum(int(part["overruns"][-1] - part["overruns"][0]) for part in parts),
                lateness_us=lateness,
                busy_us=busy,
                stretch_p99_us=p99,
                comparison=None
                if kind == CALM
                else compare_samples((kind, p99), (CALM, calm), QUANTITY, paired=True),
            )
        )
    return tuple(found)


def _unrecorded(data: RunData) -> str:
    """Return the recorder's own word on what it could not keep."""
    for event in data.events:
        text = str(getattr(event, "text", ""))
        if "overtaken unrecorded" in text:
            return text
    return "nothing"
