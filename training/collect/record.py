"""Record episodes: play them out in closed loop, and ask the teacher at every control step."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.dom.cameras import Render, keep_pictures
from dvla.benchmarks.dom.episode import ClosedLoop
from dvla.benchmarks.dom.latency import Latency
from dvla.benchmarks.dom.result import CellConfig
from dvla.benchmarks.dom.seeded import SeededPolicy
from dvla.runtime.config import SchedulerConfig, SeamMode, ServoConfig
from dvla.runtime.oracle.policy import OraclePolicy
from dvla.runtime.policy_api import ChunkPolicy, GuidedPolicy
from dvla.runtime.twin.scene import CAMERAS
from dvla.runtime.twin.scenes.choice import SceneChoice, scene_words
from dvla.runtime.twin.snapshot import TwinSnapshot
from dvla.runtime.twin.world import TwinWorld
from dvla.training.collect.controllers import (
    DecoyPolicy,
    DisturbedPolicy,
    TakeOver,
    has_decoy,
)
from dvla.training.collect.frames import HORIZON, STEP, EpisodeInfo, in_crop
from dvla.training.collect.teacher import expert_actions, state_of, target_of
from dvla.training.pictures import STORED

PERIOD_S = 0.04
EXPERT = "expert"
DECOY_S = 0.2, 1.5
"""How long the expert goes for another thing, at least and at most [s]."""
SERVO = ServoConfig(rate_hz=100)
"""Python's share of an episode is its servo ticks: 2.5 times fewer of them than on an arm."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an episode is recorded; all of it follows from the seed.

    Attributes:
        seed: of the episode.
        controller: ``expert``, or the folder of a bundle.
        latency_ms: injected inference latency.
        ci / laas: switches of the scheduler.
        rtc: the previous chunk guides the next one, as policies that stream are best run.
        take_over_s: when the expert takes over from a policy, or comes back from a decoy; never
            when None.
        decoy: the expert goes for another thing first.
    """

    seed: int
    controller: str
    latency_ms: float
    ci: bool
    laas: bool
    rtc: bool = False
    take_over_s: float | None = None
    decoy: bool = False


def draw_plan(seed: int, controller: str, decoys: float = 0.0) -> Plan:
    """Draw how an episode is recorded: latencies and switches as policies will meet them.

    Args:
        seed: of the episode.
        controller: ``expert``, or the folder of a bundle.
        decoys: share of the expert's episodes in which it goes for another thing first.
    """
    rng = np.random.default_rng((seed, 0x91A))
    latency_ms = float(rng.choice((0.0, 40.0, 80.0, 120.0, 200.0, 280.0)))
    streaming = bool(rng.random() < 0.8)
    take_over = bool(rng.random() < 0.4)
    take_over_s = float(rng.uniform(0.2, 3.0))
    laas = streaming or bool(rng.random() < 0.5)
    guided = bool(rng.random() < 0.5)
    decoy = controller == EXPERT and bool(rng.random() < decoys)
    back_s = float(rng.uniform(*DECOY_S))
    taken_over = take_over and controller != EXPERT
    return Plan(
        seed=seed,
        controller=controller,
        latency_ms=latency_ms,
        ci=streaming,
        laas=laas,
        rtc=streaming and guided and controller != EXPERT,
        take_over_s=back_s if decoy else take_over_s if taken_over else None,
        decoy=decoy,
    )


class Recorder:
    """Records one episode after another with one world and one renderer.

    Args:
        world: of the twin.
        render: makes the cameras' pictures.
        spot: says where an object is in a camera's picture, (2,) in [0, 1].
        learner: the policy behind plans whose controller is not the expert.
        max_s: longer episodes are cut off [s].
        robot: whose twin it is.
        scene: of the world; None for the plain one.
    """

    def __init__(
        self,
        world: TwinWorld,
        render: Render,
        spot: Callable[[TwinSnapshot, str, int], NDArray[np.float64]],
        learner: GuidedPolicy | None = None,
        *,
        max_s: float = 5.0,
        robot: str = "franka",
        scene: SceneChoice | None = None,
        objects: str = "",
    ) -> None:
        self._world = world
        self._render = keep_pictures(render)
        self._spot, self._learner = spot, learner
        self._max_steps = round(max_s / PERIOD_S)
        self._robot = robot
        self._scenes, self._objects = scene_words(scene), objects

    def record(self, plan: Plan) -> tuple[EpisodeInfo, NDArray[np.void]]:
        """Play an episode out.

        Returns:
            Its description and its steps, of dtype ``STEP``.
        """
        started_s = time.perf_counter()
        rows: list[NDArray[np.void]] = []
        seam: SeamMode = "rtc" if plan.rtc else "switch"
        scheduler = SchedulerConfig(ci=plan.ci, laas=plan.laas, seam=seam)
        latency = Latency(median_ms=plan.latency_ms)
        config = CellConfig(robot=self._robot, latency=latency, scheduler=scheduler)
        policy = self._controller(plan)
        watch = partial(self._keep, rows)
        loop = ClosedLoop(
            config, policy, self._world, plan.seed, self._render, servo=SERVO, watch_exposure=watch
        )
        try:
            outcome = loop.run(max_s=self._max_steps * PERIOD_S)
        finally:
            loop.close()
        spec = self._world.spec
        led = plan.decoy and has_decoy(spec)
        info = EpisodeInfo(
            seed=plan.seed,
            instruction=spec.instruction,
            kind=spec.kind,
            speed=round(spec.speed, 4),
            outcome=outcome,
            steps=len(rows),
            controller=Path(plan.controller).name + (" after a decoy" if led else ""),
            latency_ms=plan.latency_ms,
            duration_s=round(time.perf_counter() - started_s, 3),
            scenes=self._scenes,
            objects=self._objects,
            robot=self._robot,
        )
        return info, np.array(rows, STEP)

    def _controller(self, plan: Plan) -> ChunkPolicy:
        expert = DisturbedPolicy(OraclePolicy(), plan.seed)
        if plan.decoy and plan.take_over_s is not None:
            decoy = DisturbedPolicy(DecoyPolicy(plan.seed), plan.seed)
            return TakeOver(decoy, expert, plan.take_over_s)
        if self._learner is None or plan.controller == EXPERT:
            return expert
        learner = SeededPolicy(self._learner, plan.seed)
        learner.reset()
        return learner if plan.take_over_s is None else TakeOver(learner, expert, plan.take_over_s)

    def _keep(self, rows: list[NDArray[np.void]], snapshot: TwinSnapshot) -> None:
        """Keep what a policy would see at a control step, and what the expert would do."""
        row, target = np.zeros((), STEP), target_of(snapshot)
        for index, camera in enumerate(CAMERAS):
            row["images"][index] = STORED.prepare(self._render(snapshot, camera), index)
            spot = self._spot(snapshot, camera, target)
            row["spots"][index] = in_crop(spot, STORED.crops[index])
        row["state"] = state_of(snapshot)
        row["actions"] = expert_actions(snapshot, None, HORIZON, PERIOD_S)
        pose, velocity = snapshot.object_at(target)
        row["object"][:3], row["object"][3:] = pose[:3], velocity[:3]
        rows.append(row)
