"""From what a user asks for, by a task and the name of a family of scenes, to what is drawn."""

from __future__ import annotations

from typing import Literal

import msgspec

from dvla.runtime.errors import ConfigError
from dvla.runtime.twin.objects import Task, parse_task
from dvla.runtime.twin.scenes.choice import FAMILIES, TASK_KINDS, Family, SceneChoice

SceneName = Literal["plain"] | Family
SCENE_NAMES: tuple[str, ...] = ("plain", *FAMILIES)


class AskedScene(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to draw: a choice of scenes, or the plain pick scene with the objects of a task."""

    task: Task = Task()
    scene: SceneChoice | None = None


def asked_scene(task: str, scenes: str | None = None) -> AskedScene:
    """Return what to draw.

    Args:
        task: "pick", "place", "long", or the objects of the plain scene, as in "pick up the can";
            empty is "pick".
        scenes: "plain", "training" (containers, distractors, lights, textures, a camera that is
            off), "training-wide" (the same in more colours and forms), "training-second" (the same,
            of two in order the first in its place already), "training-one" (the same surroundings,
            one object, at times a second), or a dimension of the benchmark; by default plain for
            picking, else training.

    Raises:
        ConfigError: a word is unknown, or the two do not go together.
    """
    kind = task or "pick"
    if scenes is None:
        scenes = "training" if kind in ("place", "long") else "plain"
    if scenes not in SCENE_NAMES:
        raise ConfigError("unknown scenes", got=repr(scenes), choices=SCENE_NAMES)
    if scenes == "plain":
        if kind in ("place", "long"):
            raise ConfigError(
                "The plain scene has no container",
                got=f"task {kind}, scenes plain",
                expected=f"scenes training, or a dimension, for the task {kind}",
            )
        return AskedScene(task=Task() if kind == "pick" else parse_task(kind))
    if kind not in TASK_KINDS:
        raise ConfigError(
            f"The scenes of {scenes} draw their objects and instructions themselves",
            got=f"task {task!r}",
            choices=TASK_KINDS,
        )
    family: Family = next(name for name in FAMILIES if name == scenes)
    return AskedScene(
        scene=SceneChoice(family=family, task=next(k for k in TASK_KINDS if k == kind))
    )
