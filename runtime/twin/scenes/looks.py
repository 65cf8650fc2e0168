"""Draw what surrounds the objects: containers, table, light and the camera's place."""

from __future__ import annotations

import numpy as np

from dvla.runtime.twin.layout import TableLayout
from dvla.runtime.twin.scenes.environment import Environment
from dvla.runtime.twin.scenes.forms import COLOURS, Colour3
from dvla.runtime.twin.scenes.spec import (
    CONTAINER_COLOURS,
    CONTAINERS,
    Container,
    ContainerForm,
    Look,
    Texture,
)

_HEIGHT_M: dict[ContainerForm, tuple[float, float]] = {
    "bowl": (0.040, 0.055), "crate": (0.045, 0.060), "tray": (0.022, 0.030),
}  # fmt: skip
_PLAIN = Look()


def draw_container(rng: np.random.Generator, layout: TableLayout) -> Container:
    """Draw a container at one side of the table, within reach."""
    form = CONTAINERS[int(rng.integers(3))]
    colour = CONTAINER_COLOURS[int(rng.integers(len(CONTAINER_COLOURS)))]
    side = float(rng.choice((-1.0, 1.0)))
    return Container(
        form=form,
        colour=colour,
        rgb=mixed(rng, COLOURS[colour], 0.05),
        half_m=round(float(rng.uniform(*layout.container_half)), 4),
        height_m=round(layout.size * float(rng.uniform(*_HEIGHT_M[form])), 4),
        position=(
            round(float(rng.uniform(*layout.container_x)), 4),
            round(side * float(rng.uniform(*layout.container_y)), 4),
        ),
    )


def draw_look(rng: np.random.Generator, environment: Environment) -> Look:
    """Draw the surroundings; how far from the plain ones is up to the environment."""
    share = environment.look
    towards = rng.uniform(0.0, 1.0, 3)
    table = _between(_PLAIN.table_rgb, (0.15 + 0.75 * towards).tolist(), share)
    floor = _between(_PLAIN.floor_rgb, rng.uniform(0.1, 0.9, 3).tolist(), share)
    ray = np.array([*rng.uniform(-0.9, 0.9, 2), -1.0])
    tint = rng.uniform(0.75, 1.0, 3) * rng.uniform(0.35, 0.8)
    textures: tuple[Texture, ...] = ("plain", "checker", "gradient")
    texture = textures[int(rng.integers(3))] if environment.textures else "plain"
    camera = rng.uniform(-1.0, 1.0, (2, 3)) * environment.camera_m
    return Look(
        table_rgb=table,
        table_texture=texture,
        floor_rgb=floor,
        light_from=_between(_PLAIN.light_from, ray.tolist(), share),
        light=_between(_PLAIN.light, tint.tolist(), share),
        ambient=_between((_PLAIN.ambient,) * 3, (float(rng.uniform(0.25, 0.6)),) * 3, share)[0],
        camera_offset=(_rounded(camera[0].tolist()), _rounded(camera[1].tolist())),
    )


def mixed(rng: np.random.Generator, rgb: Colour3, spread: float) -> Colour3:
    """Return a colour near another."""
    near = np.clip(np.array(rgb) + rng.uniform(-spread, spread, 3), 0.0, 1.0)
    return _rounded(near.tolist())


def _between(one: Colour3, other: list[float] | Colour3, share: float) -> Colour3:
    """Mix two triples."""
    return _rounded([a + share * (b - a) for a, b in zip(one, other, strict=True)])


def _rounded(values: list[float]) -> Colour3:
    a, b, c = (round(value, 4) for value in values)
    return a, b, c
