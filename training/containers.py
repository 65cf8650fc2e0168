"""Where the container of a recorded episode stands: its seed tells it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.twin.bodies import BODIES
from dvla.runtime.twin.scenes.choice import TASK_KINDS, TRAINING_FAMILIES, SceneChoice, scene_words
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.training.collect.frames import EpisodeInfo

_WITH_CONTAINER = {
    scene_words(choice): choice
    for choice in (
        SceneChoice(family=family, task=task)
        for family in TRAINING_FAMILIES
        for task in TASK_KINDS
        if task != "pick"
    )
}


def container_of(info: EpisodeInfo) -> NDArray[np.float32]:
    """Return where the container of an episode stands (2,) [m].

    NaN where there is none, where others recorded the episode, and where its seed draws another
    scene by now than the one that it was recorded in.
    """
    unknown = np.full(2, np.nan, np.float32)
    choice = _WITH_CONTAINER.get(info.scenes)
    if choice is None or info.robot not in BODIES:
        return unknown
    scene = draw_scene(info.seed, choice, BODIES[info.robot].layout)
    if scene.container is None or scene.instruction != info.instruction:
        return unknown
    return np.array(scene.container.position, np.float32)
