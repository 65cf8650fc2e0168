"""One worker of a collection: a job on stdin, one JSON line per episode on stdout."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.cli_errors import run_main
from dvla.runtime.policy import Policy
from dvla.runtime.twin.renderer import TwinRenderer
from dvla.runtime.twin.scene import IMAGE_HEIGHT, IMAGE_WIDTH
from dvla.runtime.twin.snapshot import TwinSnapshot
from dvla.runtime.twin.world import TwinWorld
from dvla.training.collect.frames import write_episode
from dvla.training.collect.record import EXPERT, Recorder, draw_plan


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one worker is to record.

    Attributes:
        folder: where the episodes go.
        controller: ``expert``, or the folder of a bundle.
        seeds: of the episodes.
    """

    folder: str
    controller: str
    seeds: tuple[int, ...]


def main() -> int:
    """Run the job on stdin."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    renderer = TwinRenderer()

    def render(snapshot: TwinSnapshot, camera: str) -> NDArray[np.uint8]:
        image_hwc = np.empty((IMAGE_HEIGHT, IMAGE_WIDTH, 3), np.uint8)
        renderer.render(snapshot, camera, image_hwc)
        return image_hwc

    learner = None if job.controller == EXPERT else Policy.load(Path(job.controller))
    recorder = Recorder(TwinWorld(), render, learner)
    for seed in job.seeds:
        info, steps = recorder.record(draw_plan(seed, job.controller))
        write_episode(Path(job.folder), info, steps)
        print(msgspec.json.encode(info).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
