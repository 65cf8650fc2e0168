"""Many episodes over worker processes; what is recorded already is not recorded again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from dvla.benchmarks.pool.local import run_seeds
from dvla.benchmarks.pool.work import Work
from dvla.engines.errors import UsageError
from dvla.runtime.twin.scenes.asked import asked_scene
from dvla.runtime.twin.scenes.choice import scene_words
from dvla.training.collect.frames import EpisodeInfo, recorded
from dvla.training.collect.worker import EpisodeRecorder, Job
from dvla.training.seeds import refuse_test_seeds

Progress = Callable[[EpisodeInfo], None]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "0"}
"""Of the environment of a worker: each has one core, and a software renderer draws in its thread:
handing every picture to another and back made a worker on a busy machine half as fast."""


def collect(
    folder: Path,
    seeds: Sequence[int],
    controller: str,
    workers: int,
    progress: Progress,
    *,
    robot: str = "franka",
    task: str = "",
    scenes: str | None = None,
    max_s: float | None = None,
    decoys: float = 0.0,
) -> dict[int, EpisodeInfo]:
    """Record what is missing of some episodes.

    Args:
        folder: where they go; made if missing.
        seeds: of the episodes.
        controller: ``expert``, or the folder of a bundle or a checkpoint.
        workers: processes.
        progress: called with each episode.
        robot: whose twin.
        task: "pick", "place", "long", or the objects that are drawn; any when empty.
        scenes: "plain", or a family for training; by what the task needs when None.
        max_s: longer episodes are cut off [s]; by what the scenes need when None.
        decoys: share of the expert's episodes in which it goes for another thing first.

    Returns:
        All whole episodes of the folder, by seed.

    Raises:
        UsageError: a seed is reserved for tests, or the folder holds another arm's episodes, or
            another kind of scene.
        WorkerFailed / WorkerDied: an episode cannot be recorded; the others are kept.
    """
    refuse_test_seeds(seeds)
    folder.mkdir(parents=True, exist_ok=True)
    done = recorded(folder)
    _refuse_other_arms(folder, done, robot)
    asked = asked_scene(task, scenes)
    _refuse_others(folder, done, seeds, scene_words(asked.scene), asked.task.words)
    left = [seed for seed in seeds if seed not in done]

    def take(seed: int, encoded: bytes) -> None:
        progress(msgspec.json.decode(encoded, type=EpisodeInfo))

    job = Job(
        folder=str(folder),
        controller=controller,
        robot=robot,
        task=task,
        scenes=scenes,
        max_s=max_s,
        decoys=decoys,
    )
    work = Work.of(EpisodeRecorder, job)
    run_seeds(work, left, min(workers, len(left)), take, environment=ONE_THREAD)
    return recorded(folder)


def _refuse_other_arms(folder: Path, done: dict[int, EpisodeInfo], robot: str) -> None:
    """Raise a UsageError where a folder has episodes of another arm: no policy is of two."""
    others = sorted({info.robot for info in done.values()} - {robot})
    if others:
        raise UsageError(
            f"{folder} holds episodes of another arm",
            got=", ".join(others),
            expected=robot,
            next_command="choose another --out",
        )


def _refuse_others(
    folder: Path, done: dict[int, EpisodeInfo], seeds: Sequence[int], wanted: str, objects: str
) -> None:
    """Raise a UsageError where a seed was recorded already, but of another kind of scene."""
    for seed in seeds:
        if seed not in done:
            continue
        if done[seed].objects not in (None, objects):
            raise UsageError(
                f"{folder} holds episode {seed} with other objects",
                got=done[seed].objects or "any object",
                expected=objects or "any object",
                next_command="choose another --out (dvla-train takes several) or --first-seed",
            )
        if done[seed].scenes != wanted:
            raise UsageError(
                f"{folder} holds episode {seed} of another kind of scene",
                got=done[seed].scenes or "the plain scene",
                expected=wanted or "the plain scene",
                next_command="choose another --out (dvla-train takes several) or --first-seed",
            )
