"""Many episodes over worker processes; what is recorded already is not recorded again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from dvla.benchmarks.pool.local import run_seeds
from dvla.benchmarks.pool.work import Work
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
    task: str = "",
) -> dict[int, EpisodeInfo]:
    """Record what is missing of some episodes.

    Args:
        folder: where they go; made if missing.
        seeds: of the episodes.
        controller: ``expert``, or the folder of a bundle or a checkpoint.
        workers: processes.
        progress: called with each episode.
        task: draw only the objects that it names; any when empty.

    Returns:
        All whole episodes of the folder, by seed.

    Raises:
        UsageError: a seed is reserved for tests.
        WorkerFailed / WorkerDied: an episode cannot be recorded; the others are kept.
    """
    refuse_test_seeds(seeds)
    folder.mkdir(parents=True, exist_ok=True)
    done = recorded(folder)
    left = [seed for seed in seeds if seed not in done]

    def take(seed: int, encoded: bytes) -> None:
        progress(msgspec.json.decode(encoded, type=EpisodeInfo))

    work = Work.of(EpisodeRecorder, Job(folder=str(folder), controller=controller, task=task))
    run_seeds(work, left, min(workers, len(left)), take, environment=ONE_THREAD)
    return recorded(folder)
