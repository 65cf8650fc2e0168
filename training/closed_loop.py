"""How often the policy that is being trained catches: episodes of the twin, between its steps.

The held-out error of chunks says little of that: a policy that follows the object to a millimetre
and never closes its fingers has a small one.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from dvla.benchmarks.dom.cameras import keep_pictures
from dvla.benchmarks.dom.episode import run_episode
from dvla.benchmarks.dom.latency import Latency
from dvla.benchmarks.dom.result import CellConfig, EpisodeResult
from dvla.benchmarks.pool.local import run_seeds
from dvla.benchmarks.pool.work import Work
from dvla.engines.errors import UsageError
from dvla.runtime.policy_checks import check_arm
from dvla.runtime.twin.renderer import TwinRenderer
from dvla.runtime.twin.scenes.asked import asked_scene
from dvla.runtime.twin.world import TwinWorld, WorldConfig
from dvla.training.collect.campaign import ONE_THREAD
from dvla.training.collect.learner import CheckpointPolicy
from dvla.training.seeds import VALIDATION_SEEDS


class PlayOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which episodes are played.

    Attributes:
        every: optimiser steps from one look to the next; never when 0.
        trials: episodes of a look: of the validation seeds the first ones, each time the same.
        task / scenes: as ``dvla-collect`` takes them.
        latency_ms: injected inference latency.
    """

    every: int = 0
    trials: int = 24
    task: str = ""
    scenes: str | None = None
    latency_ms: float = 0.0

    def check(self) -> None:
        """Refuse what cannot be played, before anything is trained.

        Raises:
            UsageError: a number is out of bounds.
            ConfigError: a task or family of scenes is unknown, or they do not go together.
        """
        if not 1 <= self.trials <= len(VALIDATION_SEEDS):
            raise UsageError(
                "--play-trials is out of bounds",
                got=self.trials,
                expected=f"1 to {len(VALIDATION_SEEDS)}, the seeds kept for validation",
            )
        if self.every < 0:
            raise UsageError("--play-every is out of bounds", got=self.every, expected="0 or more")
        if not 0.0 <= self.latency_ms <= 10_000.0:
            raise UsageError(
                "--play-latency is out of bounds", got=self.latency_ms, expected="0 to 10000 ms"
            )
        asked_scene(self.task, self.scenes)


class PlayJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker plays: the newest save of a checkpoint's folder, on a robot's twin."""

    folder: str
    robot: str
    options: PlayOptions


class EpisodePlayer:
    """Plays a checkpoint's episodes; a ``SeedRunner`` of ``dvla.benchmarks.pool``.

    Args:
        job: JSON of a ``PlayJob``.
    """

    def __init__(self, job: bytes) -> None:
        asked = msgspec.json.decode(job, type=PlayJob)
        drawn = asked_scene(asked.options.task, asked.options.scenes)
        latency = Latency(median_ms=asked.options.latency_ms)
        self._cell = CellConfig(policy=asked.folder, robot=asked.robot, latency=latency)
        self._policy = CheckpointPolicy(Path(asked.folder))
        check_arm(self._policy.robot_type, asked.robot)
        self._world = TwinWorld(WorldConfig(robot=asked.robot, task=drawn.task, scene=drawn.scene))
        height, width = self._policy.camera
        self._render = keep_pictures(TwinRenderer(width=width, height=height).picture)

    def run(self, seed: int) -> EpisodeResult:
        """Play the episode of a seed."""
        return run_episode(self._cell, self._policy, self._world, seed, self._render)


def play(folder: Path, robot: str, options: PlayOptions) -> int:
    """Play episodes with the newest save of a checkpoint.

    Args:
        folder: of the checkpoint, with its tokenizer.
        robot: whose twin.
        options: which episodes.

    Returns:
        How many of ``options.trials`` succeeded.

    Raises:
        WorkerFailed / WorkerDied: an episode cannot be played.
    """
    successes = 0

    def take(seed: int, encoded: bytes) -> None:
        nonlocal successes
        successes += msgspec.json.decode(encoded, type=EpisodeResult).success

    seeds = VALIDATION_SEEDS[: options.trials]
    workers = min(len(os.sched_getaffinity(0)), options.trials)
    job = PlayJob(folder=str(folder), robot=robot, options=options)
    run_seeds(Work.of(EpisodePlayer, job), seeds, workers, take, environment=ONE_THREAD)
    return successes
