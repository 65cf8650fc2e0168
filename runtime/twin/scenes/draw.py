"""Draw a scene from a seed and a choice, the same on any machine."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from dvla.runtime.errors import ConfigError
from dvla.runtime.twin.layout import FRANKA_LAYOUT, TableLayout
from dvla.runtime.twin.scenes.choice import FAMILIES, TRAINING_FAMILIES, SceneChoice
from dvla.runtime.twin.scenes.environment import ENVIRONMENTS, Environment, draw_environment
from dvla.runtime.twin.scenes.language import Expression, describe, instruct
from dvla.runtime.twin.scenes.looks import draw_container, draw_look
from dvla.runtime.twin.scenes.spec import Container, SceneSpec, Thing
from dvla.runtime.twin.scenes.things import draw_pushes, draw_things

_TARGETS = {"pick": 1, "place": 1, "long": 2}
_ATTEMPTS = 20_000
_ASIDE_M = 0.02
"""How far off the container's middle what is delivered lies, where there is room."""
_CLEAR_M = 0.008
"""Between it and the outer side of the container's wall."""


@lru_cache(maxsize=16)
def draw_scene(seed: int, choice: SceneChoice, layout: TableLayout = FRANKA_LAYOUT) -> SceneSpec:
    """Draw the scene of an episode.

    A drawing whose objects stand in each other's way, or whose target no description picks out,
    is thrown away and the next one taken; so instructions always mean one object.

    Args:
        seed: of the episode; its last digit is the environment of a dimension.
        choice: of the task and the family.
        layout: of the arm's table.
    """
    index = seed if choice.family in TRAINING_FAMILIES else seed % ENVIRONMENTS
    environment = draw_environment(choice.family, index, layout)
    rng = np.random.default_rng((seed, FAMILIES.index(choice.family), 0x5CE))
    targets = _TARGETS[choice.task]
    for _ in range(_ATTEMPTS):
        container = None if choice.task == "pick" else draw_container(rng, layout)
        things = draw_things(rng, environment, targets, container, layout)
        if things is None:
            continue
        expressions = _expressions(rng, environment, things, targets)
        if expressions is None:
            continue
        return _scene(rng, seed, choice, environment, things, expressions, container, layout)
    raise ConfigError(
        "No scene could be drawn",
        got=f"seed {seed}, {choice.family}, {choice.task}",
        expected=f"one within {_ATTEMPTS} attempts",
        next_command="take another seed",
    )


def _expressions(
    rng: np.random.Generator, environment: Environment, things: tuple[Thing, ...], targets: int
) -> list[Expression] | None:
    """Return a description of each target that means it alone."""
    found = [describe(rng, things, i, environment.wanted) for i in range(targets)]
    return None if None in found else [e for e in found if e]


def _scene(
    rng: np.random.Generator,
    seed: int,
    choice: SceneChoice,
    environment: Environment,
    things: tuple[Thing, ...],
    expressions: list[Expression],
    container: Container | None,
    layout: TableLayout,
) -> SceneSpec:
    scene = SceneSpec(
        seed=seed,
        choice=choice,
        environment=seed % ENVIRONMENTS,
        instruction=instruct(rng, choice.task, expressions, container),
        things=things,
        targets=len(expressions),
        container=container,
        pushes=draw_pushes(rng, environment, things, layout),
        look=draw_look(rng, environment),
    )
    if not scene.delivered or container is None:
        return scene
    inside = (_delivered(thing, container) for thing in things[: scene.delivered])
    return msgspec.structs.replace(scene, things=(*inside, *things[scene.delivered :]))


def _delivered(thing: Thing, container: Container) -> Thing:
    """Return an object where the expert would have put it, as far as its form has room there."""
    room = max(0.0, container.half_m - _CLEAR_M - thing.reach_m)
    x, y = container.position
    at = (round(x - min(_ASIDE_M, room), 4), y)
    return msgspec.structs.replace(thing, position=at, speed=0.0)
