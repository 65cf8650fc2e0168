"""One worker of a campaign: a job on stdin, one JSON line per episode on stdout."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.dom.cameras import Render, keep_pictures
from dvla.benchmarks.dom.episode import run_episode
from dvla.benchmarks.dom.result import CellConfig
from dvla.engines.cli_errors import run_main
from dvla.runtime.policy_api import ChunkPolicy
from dvla.runtime.twin.objects import Task, parse_task
from dvla.runtime.twin.scene import IMAGE_HEIGHT, IMAGE_WIDTH
from dvla.runtime.twin.snapshot import TwinSnapshot
from dvla.runtime.twin.world import TwinWorld, WorldConfig


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one worker is to do."""

    config: CellConfig
    seeds: tuple[int, ...]


def open_policy(config: CellConfig) -> tuple[ChunkPolicy, Render | None]:
    """Return the policy of a cell, and what renders its pictures where it looks at any."""
    if config.policy == "oracle":
        from dvla.runtime.oracle.policy import OraclePolicy

        return OraclePolicy(), None
    from dvla.runtime.policy import Policy
    from dvla.runtime.twin.renderer import TwinRenderer

    policy = Policy.load(Path(config.policy))
    renderer = TwinRenderer()

    def render(snapshot: TwinSnapshot, camera: str) -> NDArray[np.uint8]:
        image_hwc = np.empty((IMAGE_HEIGHT, IMAGE_WIDTH, 3), np.uint8)
        renderer.render(snapshot, camera, image_hwc)
        return image_hwc

    return policy, keep_pictures(render)


def main() -> int:
    """Run the job on stdin."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    policy, render = open_policy(job.config)
    task = parse_task(job.config.task) if job.config.task else Task()
    world = TwinWorld(WorldConfig(task=task))
    for seed in job.seeds:
        result = run_episode(job.config, policy, world, seed, render)
        print(msgspec.json.encode(result).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
