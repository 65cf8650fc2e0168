"""Scenes in which the first of two objects in order lies where it belongs from the start."""

from __future__ import annotations

import numpy as np

from dvla.runtime.twin.scenes.choice import SceneChoice
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.scenes.judge import placed
from dvla.runtime.twin.scenes.spec import SceneSpec
from dvla.runtime.twin.world import TwinWorld, WorldConfig
from dvla.training.collect.controllers import DecoyPolicy, has_decoy
from dvla.training.collect.teacher import target_of

SECOND = SceneChoice(family="training-second", task="long")


def test_the_first_lies_in_the_container_and_the_second_is_next() -> None:
    for seed in range(300_000, 300_012):
        world = TwinWorld(WorldConfig(scene=SECOND))
        scene = world.reset(seed, 0)
        assert isinstance(scene, SceneSpec) and scene.delivered == 1 and scene.targets == 2
        assert scene.container is not None and scene.speed == 0.0
        world.advance(10**9)
        pose, motion = world.snapshot().object_at(0)
        assert placed(scene.things[0], pose, scene.container), scene.things[0].form
        assert float(np.linalg.norm(motion[:3])) < 0.05
        assert target_of(world.snapshot()) == 1


def test_other_tasks_have_nothing_in_the_container() -> None:
    for task in ("pick", "place"):
        assert draw_scene(300_000, SceneChoice(family="training-second", task=task)).delivered == 0


def test_neither_what_lies_in_the_container_nor_what_is_next_is_a_decoy() -> None:
    scenes = [draw_scene(seed, SECOND) for seed in range(300_000, 300_030)]
    assert [has_decoy(scene) for scene in scenes] == [len(scene.things) > 2 for scene in scenes]
    spec = next(scene for scene in scenes if len(scene.things) == 4)
    world = TwinWorld(WorldConfig(scene=SECOND))
    world.reset(spec.seed, 0)
    led = {DecoyPolicy(seed)._rollout(world.snapshot()).index for seed in range(12)}
    assert led == {2, 3}
