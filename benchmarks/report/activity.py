"""How much of the machine a benchmark had, and how much others took meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

_BUSY_SHARE = 0.05
_BUSY_STEAL = 0.02


class Activity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the machine the benchmark had.

    Attributes:
        load_before / load_after: load average over one minute; the second includes the benchmark.
        other_cores: cores that other programs used meanwhile; None where the kernel does not say.
        steal_share: share of the time that the hypervisor gave to others; None likewise.
        busy: the timings are not the machine's alone.
        text: the same as a sentence.
    """

    load_before: float
    load_after: float
    other_cores: float | None
    steal_share: float | None
    busy: bool
    text: str


class ActivityMeter:
    """Measures from its making to ``stop`` how much of the machine others used."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._load_before = os.getloadavg()[0]
        self._before = _cpu_ticks(root)
        self._own_before_s = _own_cpu_s()

    def stop(self) -> Activity:
        """Return the activity since the meter was made."""
        after, own_s = _cpu_ticks(self._root), _own_cpu_s() - self._own_before_s
        cores = len(os.sched_getaffinity(0))
        if self._before is None or after is None:
            return judge_activity(self._load_before, os.getloadavg()[0], cores, None, None)
        total, busy, steal = (b - a for a, b in zip(self._before, after, strict=True))
        if total <= 0:
            return judge_activity(self._load_before, os.getloadavg()[0], cores, None, None)
        ticks_per_s = os.sysconf("SC_CLK_TCK")
        all_cores = os.cpu_count() or cores
        other = max(0.0, busy / ticks_per_s - own_s) / (total / ticks_per_s / all_cores)
        return judge_activity(
            self._load_before, os.getloadavg()[0], cores, round(other, 3), round(steal / total, 4)
        )


def judge_activity(
    load_before: float,
    load_after: float,
    cores: int,
    other_cores: float | None,
    steal_share: float | None,
) -> Activity:
    """Say whether a machine was busy with something else."""
    busy_others = other_cores is not None and other_cores > _BUSY_SHARE * cores
    busy_steal = steal_share is not None and steal_share > _BUSY_STEAL
    busy_load = other_cores is None and load_before > 0.5 * cores
    parts = [f"load average {load_before:.2f} before and {load_after:.2f} after"]
    if other_cores is not None:
        parts.append(f"other programs used {other_cores:.2f} of {cores} cores meanwhile")
    if steal_share is not None:
        parts.append(f"the hypervisor took {100 * steal_share:.1f} %")
    busy = busy_others or busy_steal or busy_load
    verdict = "The machine was BUSY" if busy else "The machine was quiet"
    return Activity(
        load_before=round(load_before, 2),
        load_after=round(load_after, 2),
        other_cores=other_cores,
        steal_share=steal_share,
        busy=busy,
        text=f"{verdict}: {', '.join(parts)}.",
    )


def _cpu_ticks(root: Path) -> tuple[int, int, int] | None:
    """Return all, busy and stolen ticks of all CPUs since boot."""
    try:
        words = (root / "proc/stat").read_text().split("\n")[0].split()
    except OSError:
        return None
    if len(words) < 9 or words[0] != "cpu":
        return None
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, words[1:9])
    busy = user + nice + system + irq + softirq
    return busy + idle + iowait + steal, busy, steal


def _own_cpu_s() -> float:
    """Return the CPU time of this process and of all its descendants, ended or not [s]."""
    return sum(os.times()[:4]) + sum(_living_ticks()) / os.sysconf("SC_CLK_TCK")


def _living_ticks() -> Iterator[int]:
    """Yield the ticks of every living descendant, with those of its children that have ended."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name of a program may hold anything, brackets and blanks too.
            words = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # It has ended.
        pid = int(stat.parent.name)
        children.setdefault(int(words[1]), []).append(pid)
        ticks[pid] = sum(map(int, words[11:15]))
    ahead = children.get(os.getpid(), [])
    while ahead:
        pid = ahead.pop()
        yield ticks[pid]
        ahead += children.get(pid, [])
