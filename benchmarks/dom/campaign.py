"""Many episodes of one cell over worker processes, resumable, with a record of everything."""

from __future__ import annotations

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from dvla.benchmarks.dom.result import CellConfig, EpisodeResult, wilson_interval
from dvla.benchmarks.dom.worker import EpisodeRunner
from dvla.benchmarks.pool.local import run_seeds
from dvla.benchmarks.pool.ray_ import run_seeds_on_ray
from dvla.benchmarks.pool.work import Work
from dvla.benchmarks.report.store import write_whole
from dvla.engines.errors import UsageError
from dvla.runtime.errors import ConfigError
from dvla.runtime.lock import InstanceLock
from dvla.runtime.machine import Machine, describe_machine

SCHEMA = 1
Progress = Callable[[EpisodeResult], None]


class Cell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell and its seeds: what a partial file belongs to."""

    config: CellConfig
    first_seed: int
    trials: int


class CampaignReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The record of a campaign.

    Attributes:
        successes: of ``cell.trials``; ``interval_95`` is Wilson's, of the rate.
        outcomes: episodes by outcome.
        accepted / rejected: commands at the arm's gate, in total.
        command: that made it, without paths.
    """

    schema: int = SCHEMA
    cell: Cell
    successes: int
    success_rate: float
    interval_95: tuple[float, float]
    outcomes: dict[str, int]
    accepted: int
    rejected: int
    command: str
    machine: Machine
    episodes: tuple[EpisodeResult, ...]


def partial_path(out: Path) -> Path:
    """Return where the episodes of a report are kept until it is complete."""
    return out.with_suffix(".partial.jsonl")


def read_campaign(path: Path) -> CampaignReport:
    """Read a report of ``dvla-bench dom``.

    Raises:
        UsageError: it is missing, or something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=CampaignReport)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(
            f"{path} is not a report of dvla-bench dom",
            got=error.strerror if isinstance(error, OSError) else str(error),
            next_command="name one that it wrote; remove a damaged one and run its command again",
        ) from error


def kept_cell(path: Path) -> Cell | None:
    """Return the cell of a report or of a partial file; None where there is none to read."""
    try:
        head = path.read_bytes()
        if path.suffix == ".jsonl":
            return msgspec.json.decode(head.split(b"\n", 1)[0], type=Cell)
        return msgspec.json.decode(head, type=CampaignReport).cell
    except (OSError, msgspec.MsgspecError):
        return None


def differences(kept: Cell, cell: Cell) -> str:
    """Return what differs between two cells, in words."""
    pairs: list[tuple[str, object, object]] = [
        (name, kept, cell) for name in ("first_seed", "trials")
    ]
    pairs += [(name, kept.config, cell.config) for name in CellConfig.__struct_fields__]
    names = [name for name, ours, theirs in pairs if getattr(ours, name) != getattr(theirs, name)]
    if names == ["policy_digest"]:
        return f"the content of {cell.config.policy} has changed since"
    return f"another {', '.join(names)}"


def finished(out: Path, cell: Cell) -> CampaignReport | None:
    """Return the report of a cell that is there already; None where it is still to be made.

    Raises:
        UsageError: what is there is of another cell, or no report.
    """
    if not out.exists():
        return None
    report = read_campaign(out)
    if report.cell == cell:
        return report
    raise UsageError(
        f"{out} holds another cell",
        got=differences(report.cell, cell),
        expected="the same policy, latency, switches, task and trials",
        next_command="choose another --out, or remove that file",
    )


class _Partial:
    """The episodes that are done, one JSON line each after the cell's own; safe to kill.

    Args:
        path: of the file.
        cell: that it must belong to.

    Raises:
        ConfigError: the file belongs to another cell.
    """

    def __init__(self, path: Path, cell: Cell) -> None:
        self._path = path
        self.done: dict[int, EpisodeResult] = {}
        if path.exists():
            self._load(cell)
        else:
            path.write_bytes(msgspec.json.encode(cell) + b"\n")

    def _load(self, cell: Cell) -> None:
        kept = kept_cell(self._path)
        if kept != cell:
            raise ConfigError(
                f"{self._path.name} holds episodes of another cell",
                got=differences(kept, cell) if kept else "a file that cannot be read",
                next_command="choose another --out, or remove that file",
            )
        head, *lines = self._path.read_bytes().split(b"\n")
        complete = [head]
        # A kill can leave half a line and a full disk a damaged one: they are no episodes.
        for line in lines:
            with contextlib.suppress(msgspec.MsgspecError):
                result = msgspec.json.decode(line, type=EpisodeResult)
                self.done[result.seed] = result
                complete.append(line)
        write_whole(self._path, b"\n".join(complete) + b"\n")

    def add(self, result: EpisodeResult) -> None:
        """Add an episode."""
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(result) + b"\n")
            self.done[result.seed] = result

    def remove(self) -> None:
        """Remove the file once the report is written."""
        self._path.unlink(missing_ok=True)


def run_campaign(
    cell: Cell,
    out: Path,
    *,
    workers: int,
    command: str,
    progress: Progress,
    ray: str | None = None,
) -> CampaignReport:
    """Run what is left of a cell and write its report.

    Args:
        cell: configuration and seeds.
        out: the report; episodes are kept beside it until it is complete.
        workers: processes.
        command: that made it, for the record.
        progress: called with each episode.
        ray: address of a Ray cluster that plays the episodes instead of this host's processes.

    Raises:
        WorkerFailed / WorkerDied: an episode cannot be played out; the others are kept.
        ConfigError: episodes of another cell lie beside ``out``.
        LeaseError: another process is making the same report.
    """
    with _alone_at(out):
        return _run(cell, out, workers, command, progress, ray)


def _alone_at(out: Path) -> contextlib.AbstractContextManager[object]:
    """Keep other processes from a report and from the episodes beside it, where files lock."""
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        return InstanceLock(out.with_name(f".{out.name}.lock"), str(out), session=os.getpid())
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        return contextlib.nullcontext()  # some network file systems lock nothing


def _run(
    cell: Cell, out: Path, workers: int, command: str, progress: Progress, ray: str | None
) -> CampaignReport:
    """Run what is left of a cell and write its report; nobody else does."""
    machine = describe_machine()
    partial = _Partial(partial_path(out), cell)
    wanted = range(cell.first_seed, cell.first_seed + cell.trials)
    left = [seed for seed in wanted if seed not in partial.done]
    if left:

        def take(seed: int, encoded: bytes) -> None:
            result = msgspec.json.decode(encoded, type=EpisodeResult)
            partial.add(result)
            progress(result)

        work = Work.of(EpisodeRunner, cell.config)
        if ray is None:
            run_seeds(work, left, min(workers, len(left)), take)
        else:
            run_seeds_on_ray(work, left, min(workers, len(left)), take, ray)
    report = summarise(cell, [partial.done[seed] for seed in wanted], command, machine)
    write_whole(out, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    partial.remove()
    return report


def summarise(
    cell: Cell, episodes: list[EpisodeResult], command: str, machine: Machine
) -> CampaignReport:
    """Add up the episodes of a cell."""
    successes = sum(episode.success for episode in episodes)
    low, high = wilson_interval(successes, len(episodes))
    return CampaignReport(
        cell=cell,
        successes=successes,
        success_rate=round(successes / len(episodes), 4),
        interval_95=(round(low, 4), round(high, 4)),
        outcomes=dict(Counter(episode.outcome for episode in episodes)),
        accepted=sum(episode.accepted for episode in episodes),
        rejected=sum(episode.rejected for episode in episodes),
        command=command,
        machine=machine,
        episodes=tuple(episodes),
    )
