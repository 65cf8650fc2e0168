"""What a worker of a campaign opens once: policy, renderer and world; then one episode per seed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dvla.benchmarks.dom.cameras import Render, keep_pictures
from dvla.benchmarks.dom.episode import run_episode
from dvla.benchmarks.dom.frozen import refuse_thawed
from dvla.benchmarks.dom.observing import FEATURES, frames_kept
from dvla.benchmarks.dom.result import CellConfig, EpisodeResult
from dvla.runtime.policy_api import ChunkPolicy
from dvla.runtime.twin.objects import Task, parse_task
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.world import TwinWorld, WorldConfig


def is_bundle(path: Path) -> bool:
    """Return whether a path is meant as a bundle: one's folder, or at least a path."""
    return path.is_dir() or (len(path.parts) > 1 and ":" not in str(path))


def open_policy(config: CellConfig) -> tuple[ChunkPolicy, Render | None]:
    """Return the policy of a cell, and what renders its pictures where it looks at any."""
    if config.policy in ("oracle", "expert"):
        from dvla.runtime.oracle.policy import OraclePolicy

        return OraclePolicy(), None
    from dvla.runtime.policy import Policy
    from dvla.runtime.policy_checks import check_arm
    from dvla.runtime.policy_entry import NO_PICTURES, open_installed
    from dvla.runtime.twin.renderer import TwinRenderer

    bundle = Path(config.policy)
    policy: ChunkPolicy
    if is_bundle(bundle):
        policy = network = Policy.load(bundle, noise_scale=config.noise_scale)
        check_arm(network.facts.robot_type, config.robot)
        width, height = network.facts.camera_width, network.facts.camera_height
    else:
        policy = others = open_installed(config.policy)
        if others.picture_size == NO_PICTURES:
            return policy, None
        height, width = others.picture_size
    renderer = TwinRenderer(width=width, height=height)
    return policy, keep_pictures(renderer.picture, len(FEATURES) * frames_kept(policy))


def world_of(config: CellConfig) -> TwinWorld:
    """Return the world that a cell's episodes are played out in."""
    task = parse_task(config.task) if config.task else Task()
    return TwinWorld(WorldConfig(robot=config.robot, task=task, scene=config.scene))


class EpisodeRunner:
    """Plays the episodes of a cell out; a ``SeedRunner`` of ``dvla.benchmarks.pool``.

    Args:
        job: JSON of the cell's ``CellConfig``.
    """

    def __init__(self, job: bytes) -> None:
        self._config = msgspec.json.decode(job, type=CellConfig)
        self._policy, self._render = open_policy(self._config)
        self._world = world_of(self._config)

    def run(self, seed: int) -> EpisodeResult:
        """Play the episode of a seed out; a test scene that was redrawn is refused."""
        if self._config.scene is not None:
            layout = self._world.body.layout
            refuse_thawed(draw_scene(seed, self._config.scene, layout), self._config.robot)
        return run_episode(self._config, self._policy, self._world, seed, self._render)
