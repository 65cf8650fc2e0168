"""Many episodes over worker processes; what is recorded already is not recorded again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from dvla.engines.errors import DvlaError
from dvla.runtime.errors import ProcessDied
from dvla.training.collect.frames import EpisodeInfo, recorded
from dvla.training.collect.worker import Job
from dvla.training.seeds import refuse_test_seeds

Progress = Callable[[EpisodeInfo], None]


def collect(
    folder: Path, seeds: Sequence[int], controller: str, workers: int, progress: Progress
) -> dict[int, EpisodeInfo]:
    """Record what is missing of some episodes.

    Args:
        folder: where they go; made if missing.
        seeds: of the episodes.
        controller: ``expert``, or the folder of a bundle.
        workers: processes.
        progress: called with each episode.

    Returns:
        All whole episodes of the folder, by seed.

    Raises:
        UsageError: a seed is reserved for tests.
        ProcessDied: a worker ended early; what it finished is kept.
    """
    refuse_test_seeds(seeds)
    folder.mkdir(parents=True, exist_ok=True)
    done = recorded(folder)
    left = [seed for seed in seeds if seed not in done]
    errors: list[DvlaError] = []

    def work(share: Sequence[int]) -> None:
        try:
            _run_worker(
                Job(folder=str(folder), controller=controller, seeds=tuple(share)), progress
            )
        except DvlaError as error:
            errors.append(error)

    workers = min(workers, len(left))
    shares = [left[index::workers] for index in range(workers)]
    threads = [threading.Thread(target=work, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return recorded(folder)


def _run_worker(job: Job, progress: Progress) -> None:
    """Run one worker process to its end; each has one core."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dvla.training.collect.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(msgspec.json.encode(job))
    process.stdin.close()
    for line in process.stdout:
        progress(msgspec.json.decode(line, type=EpisodeInfo))
    if process.wait() != 0:
        raise ProcessDied(
            "A worker of the collection ended early",
            got=f"exit status {process.returncode}; its own message is above",
            next_command="run the same command again; finished episodes are kept",
        )
