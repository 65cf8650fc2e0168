"""What a worker of a collection opens once: renderer, learner and world; then one file per seed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.policy import Policy
from dvla.runtime.policy_api import GuidedPolicy
from dvla.runtime.twin.objects import Task, parse_task
from dvla.runtime.twin.renderer import TwinRenderer
from dvla.runtime.twin.snapshot import TwinSnapshot
from dvla.runtime.twin.world import TwinWorld, WorldConfig
from dvla.training.collect.frames import (
    CAMERA_HEIGHT,
    CAMERA_WIDTH,
    EpisodeInfo,
    write_episode,
)
from dvla.training.collect.record import EXPERT, Recorder, draw_plan


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one worker is to record.

    Attributes:
        folder: where the episodes go.
        controller: ``expert``, or the folder of a bundle or a checkpoint.
        task: what objects are drawn; any when empty.
    """

    folder: str
    controller: str
    task: str = ""


def open_recorder(controller: str, task: str = "") -> Recorder:
    """Return a recorder of the twin's cameras; the learner is loaded where one moves the arm."""
    renderer = TwinRenderer(width=CAMERA_WIDTH, height=CAMERA_HEIGHT)

    def render(snapshot: TwinSnapshot, camera: str) -> NDArray[np.uint8]:
        image_hwc = np.empty((CAMERA_HEIGHT, CAMERA_WIDTH, 3), np.uint8)
        renderer.render(snapshot, camera, image_hwc)
        return image_hwc

    world = TwinWorld(WorldConfig(task=parse_task(task) if task else Task()))
    return Recorder(world, render, renderer.spot, _learner(controller))


def _learner(controller: str) -> GuidedPolicy | None:
    """Return the policy that is to move the arm, or None for the expert."""
    if controller == EXPERT:
        return None
    if Path(controller, "manifest.json").is_file():
        return Policy.load(Path(controller), threads=1)
    from dvla.training.collect.learner import CheckpointPolicy

    return CheckpointPolicy(Path(controller))


class EpisodeRecorder:
    """Records episodes with the expert's answers; a ``SeedRunner`` of ``dvla.benchmarks.pool``.

    Args:
        job: JSON of a ``Job``.
    """

    def __init__(self, job: bytes) -> None:
        self._job = msgspec.json.decode(job, type=Job)
        self._recorder = open_recorder(self._job.controller, self._job.task)

    def run(self, seed: int) -> EpisodeInfo:
        """Record the episode of a seed."""
        info, steps = self._recorder.record(draw_plan(seed, self._job.controller))
        write_episode(Path(self._job.folder), info, steps)
        return info
