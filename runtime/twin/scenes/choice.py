"""What kind of scene to draw: a task and a family of scenes, as names and as one small integer."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from dvla.runtime.errors import ConfigError

TaskKind = Literal["pick", "place", "long"]
Dimension = Literal[
    "reactivity", "adaptation", "sequencing",
    "visual", "spatial", "motion",
    "visual-shift", "motion-shift", "disturbance",
]  # fmt: skip
"""Interaction, perception, generalisation: three of each."""
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
TASK_KINDS: tuple[TaskKind, ...] = get_args(TaskKind)
TrainingFamily = Literal["training", "training-one", "training-wide", "training-second"]
"""The mixture of everything that is seen; one object in varied surroundings; the mixture in more
colours and forms; the mixture, but of two in order the first is where it belongs already."""
TRAINING_FAMILIES: tuple[TrainingFamily, ...] = get_args(TrainingFamily)
TrainingScenes = Literal["plain", TrainingFamily]
Family = Dimension | TrainingFamily
FAMILIES: tuple[Family, ...] = (*DIMENSIONS, *TRAINING_FAMILIES)
EPISODE_S: dict[TaskKind, float] = {"pick": 10.0, "place": 12.0, "long": 20.0}
"""How long an episode may take [s]."""


class SceneChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which scenes to draw; the seed does the rest.

    Attributes:
        family: a dimension of the benchmark, or one for training.
        task: what is to be done with the objects.
    """

    family: Family
    task: TaskKind = "pick"

    @property
    def code(self) -> int:
        """The choice as a positive integer, for a snapshot; 0 stands for the plain pick scene."""
        kinds = len(TASK_KINDS)
        return 1 + FAMILIES.index(self.family) * kinds + TASK_KINDS.index(self.task)


def scene_words(choice: SceneChoice | None) -> str:
    """Return a choice in two words; empty for the plain pick scene."""
    return "" if choice is None else f"{choice.family} {choice.task}"


def choice_from_code(code: int) -> SceneChoice:
    """Return the choice behind a positive integer."""
    family, task = divmod(code - 1, len(TASK_KINDS))
    return SceneChoice(family=FAMILIES[family], task=TASK_KINDS[task])


def parse_dimensions(text: str) -> tuple[Dimension, ...]:
    """Return the dimensions that a comma-separated list names; ``all`` stands for the nine.

    Raises:
        ConfigError: it names something else, or the same twice.
    """
    if text.strip() == "all":
        return DIMENSIONS
    names = [name.strip() for name in text.split(",")]
    wrong = [name for name in names if name not in DIMENSIONS or names.count(name) > 1]
    if wrong:
        raise ConfigError(
            "--dims takes dimensions of the benchmark, each once",
            got=repr(text),
            expected="names with commas between them, or all",
            choices=DIMENSIONS,
        )
    return tuple(name for name in DIMENSIONS if name in names)
