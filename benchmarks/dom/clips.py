"""Films of episodes, played out again: a seed gives the same episode, so nothing need be kept."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import msgspec

from dvla.benchmarks.dom.episode import ClosedLoop
from dvla.benchmarks.dom.result import CellConfig
from dvla.benchmarks.dom.seeded import seeded
from dvla.benchmarks.dom.worker import open_policy, world_of
from dvla.runtime.twin.renderer import TwinRenderer
from dvla.runtime.twin.scene import CAMERAS
from dvla.runtime.twin.snapshot import TwinSnapshot
from dvla.runtime.video import VideoWriter

WIDTH, HEIGHT = 240, 180


class Clip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A film of one episode.

    Attributes:
        seed: of the episode.
        instruction: what was asked for.
        outcome: how it ended this time, which is how it always ends.
        mp4: H.264, base64; the cameras side by side.
    """

    seed: int
    instruction: str
    outcome: str
    mp4: str


class ClipMaker:
    """Films episodes of a cell; a ``SeedRunner`` of ``dvla.benchmarks.pool``.

    Args:
        job: JSON of the cell's ``CellConfig``.
    """

    def __init__(self, job: bytes) -> None:
        self._config = msgspec.json.decode(job, type=CellConfig)
        self._policy, self._render = open_policy(self._config)
        self._world = world_of(self._config)
        self._renderer = TwinRenderer(width=WIDTH, height=HEIGHT)

    def run(self, seed: int) -> Clip:
        """Play the episode of a seed out and film it."""
        self._policy.reset()
        policy = seeded(self._policy, seed)
        with tempfile.TemporaryDirectory(prefix="dvla-clip-") as folder:
            film = Path(folder, "clip.mp4")
            writer = VideoWriter(film, CAMERAS)

            def watch(snapshot: TwinSnapshot) -> None:
                # The first camera sets the film's pace, so it comes last.
                for camera in reversed(CAMERAS):
                    writer.add(camera, snapshot.t_ns, self._renderer.picture(snapshot, camera))

            loop = ClosedLoop(
                self._config, policy, self._world, seed, self._render, watch_exposure=watch
            )
            try:
                outcome = loop.run()
            finally:
                loop.close()
                writer.close()
            encoded = base64.b64encode(film.read_bytes()).decode()
        return Clip(
            seed=seed, instruction=self._world.spec.instruction, outcome=outcome, mp4=encoded
        )
