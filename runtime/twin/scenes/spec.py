"""A scene as values: everything that a seed puts on the table, and what is asked for."""

from __future__ import annotations

import math
from typing import Literal, get_args

import msgspec

from dvla.runtime.twin.scenes.choice import SceneChoice
from dvla.runtime.twin.scenes.forms import BASE, Base, Colour3, Form

Texture = Literal["plain", "checker", "gradient"]
ContainerForm = Literal["bowl", "crate", "tray"]
CONTAINERS: tuple[ContainerForm, ...] = get_args(ContainerForm)
CONTAINER_COLOURS = ("blue", "green", "white", "brown", "purple")
MAX_THINGS = 6


class Thing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object on the table.

    Attributes:
        colour: its name; ``rgb`` is what is painted.
        radius_m: half of what the fingers close on.
        half_length_m: half the longest side of a can, a brick or a cup; else ``radius_m``.
        mass_kg: of the whole.
        deceleration: what friction takes from its speed [m/s2].
        drag: force against its velocity [N s/m].
        turn_rate: at which its velocity turns while it rolls freely [rad/s].
        position: where it starts (2,) [m].
        heading_rad / speed: where it goes at the start, from the x axis of the base [m/s].
    """

    form: Form
    colour: str
    rgb: Colour3
    texture: Texture = "plain"
    radius_m: float
    half_length_m: float
    mass_kg: float = 0.05
    deceleration: float
    drag: float = 0.0
    turn_rate: float = 0.0
    position: tuple[float, float]
    heading_rad: float
    speed: float

    @property
    def kind(self) -> Base:
        """The primitive that moves and is taken."""
        return BASE[self.form]

    @property
    def rest_z_m(self) -> float:
        """Height of its centre while it is on the table."""
        return self.half_length_m if self.kind == "cup" else self.radius_m

    @property
    def reach_m(self) -> float:
        """Radius of a circle on the table that it stays in."""
        if self.kind in ("ball", "cup"):
            return self.radius_m
        return math.hypot(self.radius_m, self.half_length_m)

    @property
    def velocity(self) -> tuple[float, float]:
        """Velocity at the start (2,) [m/s]."""
        return self.speed * math.cos(self.heading_rad), self.speed * math.sin(self.heading_rad)

    def path(self, after_s: float) -> tuple[float, float]:
        """Return where it is after a time, if nothing touches it (2,) [m]."""
        t = min(after_s, self.speed / self.deceleration)
        run = self.speed * t - self.deceleration * t * t / 2
        x, y = self.position
        return x + run * math.cos(self.heading_rad), y + run * math.sin(self.heading_rad)


class Container(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What objects are placed in; it stands fast on the table.

    Attributes:
        half_m: half of its outer side, or its outer radius.
        height_m: of the rim over the table.
        position: of its middle (2,) [m].
    """

    form: ContainerForm
    colour: str
    rgb: Colour3
    half_m: float
    height_m: float
    position: tuple[float, float]

    @property
    def reach_m(self) -> float:
        """Radius of a circle on the table that holds it."""
        return self.half_m if self.form == "bowl" else self.half_m * math.sqrt(2.0)

    @property
    def name(self) -> str:
        """How instructions call it."""
        return f"the {self.colour} {self.form}"


class Push(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A force and a torque on an object for a while [N, N m], base frame."""

    thing: int
    start_s: float
    duration_s: float
    force: Colour3
    torque: Colour3 = (0.0, 0.0, 0.0)


class Look(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the surroundings look like.

    Attributes:
        light_from: direction of the light's rays.
        light / ambient: strength of the light and of what comes from everywhere.
        camera_offset: of the opposite camera, and of the point it looks at, from where they are
            in the plain scene (2 x 3) [m].
    """

    table_rgb: Colour3 = (0.74, 0.63, 0.50)
    table_texture: Texture = "plain"
    floor_rgb: Colour3 = (0.50, 0.53, 0.56)
    light_from: Colour3 = (-0.25, -0.30, -1.0)
    light: Colour3 = (0.55, 0.55, 0.52)
    ambient: float = 0.42
    camera_offset: tuple[Colour3, Colour3] = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


class SceneSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One episode.

    Attributes:
        seed: makes the same scene again, with the choice.
        environment: 0 to 9; trials of an environment share its parameters.
        instruction: what is asked for.
        things: the ``targets`` objects that it names, in its order; then the others.
        container: where they go; None when they are only picked up.
    """

    seed: int
    choice: SceneChoice
    environment: int
    instruction: str
    things: tuple[Thing, ...]
    targets: int
    container: Container | None = None
    pushes: tuple[Push, ...] = ()
    look: Look = Look()

    @property
    def delivered(self) -> int:
        """How many of the targets lie in the container from the start; they were described before.

        It follows from the choice, so that it is no part of what a record of a scene holds.
        """
        return int(self.choice == SceneChoice(family="training-second", task="long"))

    @property
    def kind(self) -> str:
        """Form of the first target."""
        return self.things[0].form

    @property
    def speed(self) -> float:
        """Speed of the first target at the start [m/s]."""
        return self.things[0].speed
