"""One episode per seed: the disturbed expert acts, both cameras film, its answers are kept."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.dom.cameras import keep_pictures
from dvla.benchmarks.dom.episode import ClosedLoop
from dvla.benchmarks.dom.latency import Latency
from dvla.benchmarks.dom.result import CellConfig
from dvla.runtime.config import SchedulerConfig
from dvla.runtime.oracle.policy import OraclePolicy
from dvla.runtime.twin.renderer import TwinRenderer
from dvla.runtime.twin.scene import CAMERAS
from dvla.runtime.twin.scenes.asked import asked_scene
from dvla.runtime.twin.snapshot import TwinSnapshot
from dvla.runtime.twin.world import TwinWorld, WorldConfig
from dvla.training.collect.controllers import DisturbedPolicy
from dvla.training.collect.record import EXPERT, draw_plan
from dvla.training.collect.teacher import expert_actions, state_of, target_of
from dvla.training.lerobot.film import FilmWriter
from dvla.training.lerobot.schema import CAMERA_KEYS, FPS
from dvla.training.lerobot.staging import STEP, Staged, begin, finish
from dvla.training.lerobot.stats import ImageStats, plain


class RecordJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker is to do with every seed.

    Attributes:
        root: folder of the staged episodes.
        robot: whose twin.
        task: "pick", "place", "long", or what objects are drawn; any when empty.
        scenes: "plain", or a family for training; by what the task needs when None.
    """

    root: str
    robot: str
    task: str
    scenes: str | None = None


class SeedRecorder:
    """Records episodes into the staging folder; a ``SeedRunner`` of ``dvla.benchmarks.pool``.

    Args:
        job: JSON of a ``RecordJob``.
    """

    def __init__(self, job: bytes) -> None:
        self._job = msgspec.json.decode(job, type=RecordJob)
        self._renderer = TwinRenderer()
        asked = asked_scene(self._job.task, self._job.scenes)
        robot = self._job.robot
        self._world = TwinWorld(WorldConfig(robot=robot, task=asked.task, scene=asked.scene))
        self._render = keep_pictures(self._renderer.picture)

    def run(self, seed: int) -> Staged:
        """Record the episode of a seed."""
        started_s, root = time.perf_counter(), Path(self._job.root)
        plan = draw_plan(seed, EXPERT)
        config = CellConfig(
            robot=self._job.robot,
            latency=Latency(median_ms=plan.latency_ms),
            scheduler=SchedulerConfig(ci=plan.ci, laas=plan.laas),
        )
        folder = begin(root, seed)
        films = [FilmWriter(folder / f"{key}.mp4") for key in CAMERA_KEYS]
        looks = [ImageStats() for _ in CAMERA_KEYS]
        rows: list[NDArray[np.void]] = []

        def watch(snapshot: TwinSnapshot) -> None:
            for camera, film, look in zip(CAMERAS, films, looks, strict=True):
                image_hwc = self._render(snapshot, camera)
                film.add(image_hwc)
                look.add(image_hwc)
            rows.append(_row(snapshot))

        policy = DisturbedPolicy(OraclePolicy(), seed)
        loop = ClosedLoop(config, policy, self._world, seed, self._render, watch_exposure=watch)
        try:
            outcome = loop.run()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # room for the message, on a full disk
            raise
        finally:
            loop.close()
            for film in films:
                film.close()
        told = Staged(
            seed=seed,
            instruction=self._world.spec.instruction,
            outcome=outcome,
            steps=len(rows),
            latency_ms=plan.latency_ms,
            recorded_s=round(time.perf_counter() - started_s, 3),
            image_stats={
                key: plain(look.result()) for key, look in zip(CAMERA_KEYS, looks, strict=True)
            },
        )
        finish(folder, root, told, np.array(rows, STEP))
        return told


def _row(snapshot: TwinSnapshot) -> NDArray[np.void]:
    row = np.zeros((), STEP)
    row["state"] = state_of(snapshot)
    row["action"] = expert_actions(snapshot, None, 1, 1.0 / FPS)[0]
    pose, velocity = snapshot.object_at(target_of(snapshot))
    row["object"][:3], row["object"][3:] = pose[:3], velocity[:3]
    return row
