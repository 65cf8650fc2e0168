"""What a worker of a collection opens once: renderer, learner and world; then one file per seed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dvla.runtime.policy import Policy
from dvla.runtime.policy_api import GuidedPolicy
from dvla.runtime.policy_checks import check_arm
from dvla.runtime.twin.renderer import TwinRenderer
from dvla.runtime.twin.scenes.asked import asked_scene
from dvla.runtime.twin.scenes.choice import EPISODE_S, SceneChoice
from dvla.runtime.twin.world import TwinWorld, WorldConfig
from dvla.training.collect.frames import (
    CAMERA_HEIGHT,
    CAMERA_WIDTH,
    EpisodeInfo,
    write_episode,
)
from dvla.training.collect.record import EXPERT, Recorder, draw_plan

ALONE_S = 5.0
"""Episodes with one object are cut off here unless asked: the expert hardly ever needs longer."""


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one worker is to record.

    Attributes:
        folder: where the episodes go.
        controller: ``expert``, or the folder of a bundle or a checkpoint.
        robot: whose twin.
        task: "pick", "place", "long", or what objects are drawn; any when empty.
        scenes: "plain", or a family for training; by what the task needs when None.
        max_s: longer episodes are cut off [s]; by what the scenes need when None.
        decoys: share of the expert's episodes in which it goes for another thing first.
    """

    folder: str
    controller: str
    robot: str = "franka"
    task: str = ""
    scenes: str | None = None
    max_s: float | None = None
    decoys: float = 0.0


def open_recorder(job: Job) -> Recorder:
    """Return a recorder of the twin's cameras; the learner is loaded where one moves the arm."""
    renderer = TwinRenderer(width=CAMERA_WIDTH, height=CAMERA_HEIGHT)
    asked = asked_scene(job.task, job.scenes)
    world = TwinWorld(WorldConfig(robot=job.robot, task=asked.task, scene=asked.scene))
    return Recorder(
        world,
        renderer.picture,
        renderer.spot,
        _learner(job),
        max_s=job.max_s if job.max_s is not None else _usual_s(asked.scene),
        robot=job.robot,
        scene=asked.scene,
        objects=asked.task.words,
    )


def _usual_s(scene: SceneChoice | None) -> float:
    """Return when episodes of some scenes are cut off [s]."""
    if scene is None or scene == SceneChoice(family="training-one"):
        return ALONE_S
    return EPISODE_S[scene.task]


def _learner(job: Job) -> GuidedPolicy | None:
    """Return the policy that is to move the arm, or None for the expert."""
    if job.controller == EXPERT:
        return None
    path = Path(job.controller)
    if (path / "manifest.json").is_file():
        policy = Policy.load(path, threads=1)
        check_arm(policy.facts.robot_type, job.robot)
        return policy
    from dvla.training.collect.learner import CheckpointPolicy

    learner = CheckpointPolicy(path)
    check_arm(learner.robot_type, job.robot)
    return learner


class EpisodeRecorder:
    """Records episodes with the expert's answers; a ``SeedRunner`` of ``dvla.benchmarks.pool``.

    Args:
        job: JSON of a ``Job``.
    """

    def __init__(self, job: bytes) -> None:
        self._job = msgspec.json.decode(job, type=Job)
        self._recorder = open_recorder(self._job)

    def run(self, seed: int) -> EpisodeInfo:
        """Record the episode of a seed."""
        info, steps = self._recorder.record(draw_plan(seed, self._job.controller, self._job.decoys))
        write_episode(Path(self._job.folder), info, steps)
        return info
