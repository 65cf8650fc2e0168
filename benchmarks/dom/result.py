"""What one episode gives: numbers that can be added up, and nothing that depends on the host."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from dvla.benchmarks.dom.latency import Latency
from dvla.runtime.config import SchedulerConfig
from dvla.runtime.twin.episodes import Outcome
from dvla.runtime.twin.scenes.choice import Dimension, SceneChoice, TaskKind, TrainingFamily

EpisodeOutcome = Outcome | Literal["fault"]


class CellConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cell of a comparison: everything but the seeds.

    Attributes:
        policy: ``oracle``, or the folder of a bundle.
        policy_digest: of the bundle's content, or the installed policy with its version: the same
            folder may hold another policy by now.
        robot: whose twin, and whose limits the gate enforces.
        task: what objects are drawn; any when empty.
        dimension: of the benchmark; with neither it nor ``scenes`` the plain pick scene is drawn,
            which is the ablation's.
        scenes: as training draws them, which are no part of the benchmark.
        task_kind: what is done with the objects of either.
        latency: injected.
        scheduler: its switches.
        noise_scale: of a bundle's sampling; None is the bundle's own.
    """

    policy: str = "oracle"
    policy_digest: str = ""
    robot: str = "franka"
    task: str = ""
    dimension: Dimension | None = None
    scenes: TrainingFamily | None = None
    task_kind: TaskKind = "pick"
    latency: Latency = Latency()
    scheduler: SchedulerConfig = SchedulerConfig()
    noise_scale: float | None = None

    @property
    def scene(self) -> SceneChoice | None:
        """Which scenes are drawn; None for the plain pick scene."""
        family = self.dimension or self.scenes
        return SceneChoice(family=family, task=self.task_kind) if family else None


class EpisodeResult(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How one episode went.

    Attributes:
        completion_s: from the object's appearance to the end.
        path_m: way of the TCP.
        inferences: begun; ``chunks_merged`` of them came into the timeline.
        actions_stale / actions_executed: of the scheduler.
        underruns: times that the timeline ran dry.
        seam_max_m: largest step across a seam.
        accepted / rejected: commands at the arm's gate; ``rejected_by`` says why.
        stops: times that the arm stopped by itself.
        saturated_ticks: servo ticks on which the shaper limited the motion.
        observation_age_p50_s / observation_age_max_s: of moving commands, at dispatch.
        tracking_max_m: largest distance between commanded and measured TCP.
        environment: of a dimension, 0 to 9; this and the rest are only of scenes of a dimension.
        instruction: what was asked for.
        motion_s: from the arm's first motion (2 mm) to the end; None if it never moved.
        jerk_p95: 95th percentile of the jerk of commanded positions at servo rate [m/s3].
    """

    seed: int
    kind: str
    speed: float
    outcome: EpisodeOutcome
    success: bool
    completion_s: float
    path_m: float
    inferences: int
    chunks_merged: int
    actions_stale: int
    actions_executed: int
    underruns: int
    seam_max_m: float
    accepted: int
    rejected: int
    rejected_by: dict[str, int]
    stops: int
    saturated_ticks: int
    observation_age_p50_s: float
    observation_age_max_s: float
    tracking_max_m: float
    environment: int | None = None
    instruction: str = ""
    motion_s: float | None = None
    jerk_p95: float | None = None


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a success rate.

    Args:
        successes: out of ``trials``.
        trials: at least one.
        z: quantile of the normal distribution; 1.96 for 95 %.
    """
    rate = successes / trials
    middle = rate + z * z / (2 * trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return (middle - half) / scale, (middle + half) / scale
