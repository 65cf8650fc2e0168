"""What a snapshot's seed stands for."""

from __future__ import annotations

from dvla.runtime.twin.bodies import body_of_code
from dvla.runtime.twin.objects import EpisodeSpec, draw_episode, task_from_code
from dvla.runtime.twin.scenes.choice import choice_from_code
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.scenes.spec import SceneSpec
from dvla.runtime.twin.snapshot import TwinSnapshot


def spec_of(snapshot: TwinSnapshot) -> EpisodeSpec | SceneSpec:
    """Return the episode that a snapshot was taken in: the seed and two small codes tell it."""
    layout = body_of_code(snapshot.arm).layout
    if snapshot.scene:
        return draw_scene(snapshot.seed, choice_from_code(snapshot.scene), layout)
    return draw_episode(snapshot.seed, task_from_code(snapshot.kind, snapshot.colour), layout)
