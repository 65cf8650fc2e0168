"""The objects of the twin: what an episode puts on the table, drawn from its seed.

The whole episode follows from the seed, so a renderer or an oracle in another process needs the
seed alone to know size, colour and material.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import msgspec
import numpy as np

from dvla.runtime.errors import ConfigError
from dvla.runtime.twin.layout import FRANKA_LAYOUT, TableLayout

Kind = Literal["ball", "can", "box"]
Colour = Literal["red", "orange", "yellow", "green", "blue", "purple"]
RGB: dict[Colour, tuple[float, float, float]] = {
    "red": (0.85, 0.12, 0.10),
    "orange": (0.95, 0.48, 0.08),
    "yellow": (0.95, 0.80, 0.10),
    "green": (0.12, 0.62, 0.22),
    "blue": (0.10, 0.32, 0.85),
    "purple": (0.52, 0.18, 0.68),
}
MASS_KG = 0.05
DECELERATION: dict[Kind, float] = {"ball": 0.10, "can": 0.10, "box": 0.15}
"""What rolling or sliding friction takes from an object's speed [m/s2]."""


class EpisodeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One object on its way across the table.

    Attributes:
        seed: makes the same episode again.
        kind / colour: what the instruction names.
        radius_m: radius of a ball or a can, half the edge of a box.
        half_length_m: half the length of a can; as ``radius_m`` otherwise.
        position: (2,) where it starts on the table [m].
        heading_rad: where it goes, from the x axis of the base.
        speed: at the start [m/s].
    """

    seed: int
    kind: Kind
    colour: Colour
    radius_m: float
    half_length_m: float
    position: tuple[float, float]
    heading_rad: float
    speed: float

    @property
    def instruction(self) -> str:
        """What a person would ask for."""
        return f"pick up the {self.colour} {self.kind}"

    @property
    def rest_z_m(self) -> float:
        """Height of its centre while it is on the table."""
        return self.radius_m

    @property
    def deceleration(self) -> float:
        """What friction takes from its speed [m/s2]."""
        return DECELERATION[self.kind]

    @property
    def velocity(self) -> tuple[float, float]:
        """Velocity at the start (2,) [m/s]."""
        return self.speed * math.cos(self.heading_rad), self.speed * math.sin(self.heading_rad)


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an instruction asks for; None means any."""

    kind: Kind | None = None
    colour: Colour | None = None

    @property
    def words(self) -> str:
        """Colour and kind as in an instruction; empty where it asks for anything."""
        return " ".join(word for word in (self.colour, self.kind) if word)


def parse_task(text: str) -> Task:
    """Find the colour and the kind of object that an instruction names.

    Raises:
        ConfigError: when it names neither, with the words that are understood.
    """
    words = text.lower().replace(".", " ").replace(",", " ").split()
    kind = next((kind for kind in get_args(Kind) if kind in words), None)
    colour = next((colour for colour in get_args(Colour) if colour in words), None)
    if kind is None and colour is None:
        raise ConfigError(
            "The task names no object of the simulated table",
            got=repr(text),
            expected='a colour and a kind, as in "pick up the red can"',
            choices=(*get_args(Colour), *get_args(Kind)),
        )
    return Task(kind=kind, colour=colour)


def draw_episode(
    seed: int, task: Task | None = None, layout: TableLayout = FRANKA_LAYOUT
) -> EpisodeSpec:
    """Draw an episode: an object that crosses the reachable table in front of the arm.

    Slow objects start within reach (they would not arrive), fast ones at the side, heading across.

    Args:
        seed: of the episode.
        task: what is asked for; any object by default.
        layout: of the arm's table.
    """
    task = task or Task()
    rng = np.random.default_rng((seed, 0x0D0))
    kind: Kind = get_args(Kind)[rng.choice(3, p=(0.5, 0.3, 0.2))]
    colour: Colour = get_args(Colour)[rng.integers(6)]
    kind, colour = task.kind or kind, task.colour or colour
    radius = layout.size * float(rng.uniform(0.020, 0.030 if kind == "ball" else 0.027))
    half_length = layout.size * float(rng.uniform(0.030, 0.040)) if kind == "can" else radius
    speed = float(rng.uniform(0.0, layout.speed_max))
    side = float(rng.choice((-1.0, 1.0)))
    x = float(rng.uniform(*layout.start_x))
    run_m = speed**2 / (2 * DECELERATION[kind])
    y = side * float(min(layout.farthest_y, rng.uniform(*layout.start_y) + 0.5 * run_m))
    # Aim at a point on the arm's centre line, so that the path stays within reach.
    aim_x = float(rng.uniform(*layout.aim_x))
    heading = math.atan2(-y, aim_x - x)
    return EpisodeSpec(
        seed=seed,
        kind=kind,
        colour=colour,
        radius_m=radius,
        half_length_m=half_length,
        position=(x, y),
        heading_rad=heading,
        speed=speed,
    )


def task_code(task: Task) -> tuple[int, int]:
    """Return a task as two small integers (kind, colour); 0 stands for any."""
    kind = 0 if task.kind is None else 1 + get_args(Kind).index(task.kind)
    colour = 0 if task.colour is None else 1 + get_args(Colour).index(task.colour)
    return kind, colour


def task_from_code(kind: int, colour: int) -> Task:
    """Return the task behind two small integers."""
    return Task(
        kind=get_args(Kind)[kind - 1] if kind else None,
        colour=get_args(Colour)[colour - 1] if colour else None,
    )
