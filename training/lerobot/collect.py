"""A dataset of N successes: seeds in their order until there are enough, whoever records them."""

from __future__ import annotations

import itertools
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from dvla.benchmarks.pool.local import run_seeds
from dvla.benchmarks.pool.ray_ import run_seeds_on_ray
from dvla.benchmarks.pool.work import Work
from dvla.engines.errors import UsageError
from dvla.runtime.machine import describe_machine
from dvla.runtime.twin.scenes.asked import asked_scene
from dvla.runtime.twin.scenes.choice import scene_words
from dvla.training.collect.campaign import ONE_THREAD
from dvla.training.lerobot.assemble import assemble
from dvla.training.lerobot.film import import_av
from dvla.training.lerobot.record import RecordJob, SeedRecorder
from dvla.training.lerobot.schema import CONVENTIONS, Provenance, Version
from dvla.training.lerobot.staging import Staged, staged
from dvla.training.lerobot.tables import import_pyarrow
from dvla.training.seeds import refuse_test_seeds

_ATTEMPTS_EACH, _ATTEMPTS_MORE = 10, 50
"""Seeds that are tried at most: so many per episode wanted, and some more."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a staging folder was begun for; the number of episodes and the layout may change."""

    robot: str
    task: str
    scenes: str | None = None
    first_seed: int

    @property
    def text(self) -> str:
        """The task and the kind of its scenes."""
        scene = asked_scene(self.task, self.scenes).scene
        return scene_words(scene) or self.task or "pick"


def collect_dataset(
    out: Path,
    wanted: Wanted,
    episodes: int,
    version: Version,
    *,
    workers: int,
    ray: str | None = None,
    progress: Callable[[Staged], None],
) -> Provenance:
    """Record what is missing and write the dataset; the same call again goes on.

    Args:
        out: folder of the dataset; the episodes are staged beside it until it is whole.
        wanted: robot, task and the seed of the first attempt.
        episodes: successes that the dataset is to hold.
        version: layout.
        workers: processes.
        ray: address of a Ray cluster that records instead; ``out`` must be shared by its nodes.
        progress: called with each attempt.

    Raises:
        UsageError: the folder holds something else, a seed is reserved, or too few succeed.
        WorkerFailed / WorkerDied: an episode cannot be recorded; the others are kept.
    """
    refuse_test_seeds([wanted.first_seed])
    import_av()
    import_pyarrow()
    root = out.with_name(out.name + ".partial").absolute()
    if out.exists():
        raise UsageError(
            f"{out} is there already",
            expected="a folder that does not exist; a dataset is written whole",
            next_command="choose another --out (dvla-train takes several) or remove it",
        )
    _claim(root, wanted)
    done = staged(root)

    def seeds() -> Iterator[int]:
        last = wanted.first_seed + _ATTEMPTS_EACH * episodes + _ATTEMPTS_MORE
        for seed in itertools.count(wanted.first_seed):
            if sum(each.outcome == "success" for each in done.values()) >= episodes:
                return
            if seed in done:
                continue
            refuse_test_seeds([seed])
            if seed >= last:
                raise UsageError(
                    "The expert hardly ever succeeds",
                    got=str(dict(Counter(each.outcome for each in done.values()))),
                    expected=f"{episodes} successes in {last - wanted.first_seed} attempts",
                )
            yield seed

    def take(seed: int, encoded: bytes) -> None:
        done[seed] = msgspec.json.decode(encoded, type=Staged)
        progress(done[seed])

    job = RecordJob(root=str(root), robot=wanted.robot, task=wanted.task, scenes=wanted.scenes)
    work = Work.of(SeedRecorder, job)
    if ray is None:
        run_seeds(work, seeds(), workers, take, environment=ONE_THREAD)
    else:
        run_seeds_on_ray(work, seeds(), workers, take, ray)
    return _write(root, out, wanted, done, episodes, version)


def _claim(root: Path, wanted: Wanted) -> None:
    """Make the staging folder, or make sure that it was begun for the same."""
    mark = root / "wanted.json"
    if not mark.exists():
        root.mkdir(parents=True, exist_ok=True)
        mark.write_bytes(msgspec.json.encode(wanted))
        return
    try:
        same = msgspec.json.decode(mark.read_bytes(), type=Wanted) == wanted
    except msgspec.MsgspecError:
        same = False
    if not same:
        raise UsageError(
            f"{root.name} holds episodes of another collection",
            got=mark.read_text(errors="replace"),
            expected=msgspec.json.encode(wanted).decode(),
            next_command="choose another --out, or remove that folder",
        )


def _write(
    root: Path, out: Path, wanted: Wanted, done: dict[int, Staged], episodes: int, version: Version
) -> Provenance:
    """Write the first successes by seed, so that it does not matter how many were under way."""
    ordered = [done[seed] for seed in sorted(done)]
    kept = [each for each in ordered if each.outcome == "success"][:episodes]
    attempts = [each for each in ordered if each.seed <= kept[-1].seed]
    provenance = Provenance(
        robot=wanted.robot,
        task=wanted.text,
        convention=CONVENTIONS,
        attempts=dict(sorted(Counter(each.outcome for each in attempts).items())),
        seeds=tuple(each.seed for each in kept),
        latencies_ms=tuple(each.latency_ms for each in kept),
        frames=sum(each.steps for each in kept),
        recorded_s=round(sum(each.recorded_s for each in attempts), 1),
        machine=describe_machine(),
    )
    scratch = out.with_name(f".{out.name}.assembling")
    assemble(root, kept, scratch, version, provenance)
    os.replace(scratch, out)
    shutil.rmtree(root)
    return provenance
