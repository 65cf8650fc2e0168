"""Draw the objects of a scene, where they go, and what disturbs them."""

from __future__ import annotations

import math

import numpy as np

from dvla.runtime.twin.layout import TableLayout
from dvla.runtime.twin.scenes.environment import Environment
from dvla.runtime.twin.scenes.forms import (
    BASE,
    COLOURS,
    DECELERATION,
    HALF_LENGTH_M,
    RADIUS_M,
    Form,
)
from dvla.runtime.twin.scenes.looks import mixed
from dvla.runtime.twin.scenes.spec import MAX_THINGS, Container, Push, Texture, Thing

_AHEAD_S = (0.0, 0.3, 0.6, 0.9, 1.2)
"""Instants at which nothing may be in another's way."""
_BESIDE_A_CONTAINER = 4
"""Objects that find room beside a container."""
_SLOW = 0.25
"""Later targets move only where all do so slowly: a fast one would be gone [m/s]."""
_PUSH_S = 0.12
_TURN_S = 0.04


def draw_things(
    rng: np.random.Generator,
    environment: Environment,
    targets: int,
    container: Container | None,
    layout: TableLayout,
) -> tuple[Thing, ...] | None:
    """Draw the targets, then the others; None where they would be in each other's way."""
    lanes_x = layout.lanes_x
    things: list[Thing] = []
    room = MAX_THINGS if container is None else _BESIDE_A_CONTAINER
    count = min(room, targets + environment.distractors)
    lanes = rng.permutation(len(lanes_x))
    for index in range(count):
        form, colour = _identity(rng, environment, things, index - targets)
        slow = environment.lanes or (index < targets and environment.speeds[1] <= _SLOW)
        moving = index == 0 or slow
        lane = lanes_x[lanes[index]] if environment.lanes and index < len(lanes) else None
        thing = _draw(rng, environment, form, colour, layout, moving=moving, lane=lane)
        if not all(_apart(thing, other, layout.gap_m) for other in things):
            return None
        if container is not None and not _clear(thing, container, layout.gap_m):
            return None
        things.append(thing)
    return tuple(things)


def _identity(
    rng: np.random.Generator, environment: Environment, things: list[Thing], distractor: int
) -> tuple[Form, str]:
    """Return form and colour of the next object; the first distractors resemble the target."""
    form = environment.forms[int(rng.integers(len(environment.forms)))]
    colour = environment.colours[int(rng.integers(len(environment.colours)))]
    if 0 <= distractor < environment.alike:
        model = things[0]
        if environment.wanted != "colour":
            return model.form, model.colour
        return (model.form, colour) if rng.random() < 0.5 else (form, model.colour)
    return form, colour


def _draw(
    rng: np.random.Generator,
    environment: Environment,
    form: Form,
    colour: str,
    layout: TableLayout,
    *,
    moving: bool,
    lane: float | None,
) -> Thing:
    """Draw one object: slow ones start within reach, fast ones at the side, heading across."""
    base = BASE[form]
    radius = round(layout.size * float(rng.uniform(*RADIUS_M[base])), 4)
    half = radius
    if base in HALF_LENGTH_M:
        half = round(layout.size * float(rng.uniform(*HALF_LENGTH_M[base])), 4)
    deceleration = round(DECELERATION[base] * float(rng.uniform(*environment.friction)), 4)
    textures: tuple[Texture, ...] = ("plain", "checker", "gradient")
    texture = textures[int(rng.integers(3))] if environment.textures else "plain"
    speed = float(rng.uniform(*environment.speeds))
    rests = rng.random() < environment.still or not moving
    speed = 0.0 if rests else speed
    x, y, heading = _course(rng, layout, speed, deceleration, lane)
    turn = float(rng.uniform(-1.0, 1.0)) * environment.turn_rate
    return Thing(
        form=form,
        colour=colour,
        rgb=mixed(rng, COLOURS[colour], 0.05),
        texture=texture,
        radius_m=radius,
        half_length_m=half,
        mass_kg=round(float(rng.uniform(*environment.masses_kg)), 4),
        deceleration=deceleration,
        drag=round(float(rng.uniform(0.0, 1.0)) * environment.drag, 5),
        turn_rate=round(turn, 4),
        position=(round(x, 4), round(y, 4)),
        heading_rad=round(heading, 5),
        speed=round(speed, 4),
    )


def _course(
    rng: np.random.Generator,
    layout: TableLayout,
    speed: float,
    deceleration: float,
    lane: float | None,
) -> tuple[float, float, float]:
    """Return start x, y [m] and heading [rad]."""
    side = float(rng.choice((-1.0, 1.0)))
    if lane is not None:
        nearest, farthest = layout.lane_y
        y = side * float(rng.uniform(0.0 if speed < 0.05 else nearest, farthest))
        lean = float(rng.uniform(-0.08, 0.08))
        return lane + float(rng.uniform(-0.01, 0.01)), y, -side * math.pi / 2 + lean
    if speed == 0.0:
        turned = float(rng.uniform(-math.pi, math.pi))
        x, y = float(rng.uniform(*layout.rest_x)), side * float(rng.uniform(0.0, layout.rest_y))
        return x, y, turned
    x = float(rng.uniform(*layout.scene_x))
    run_m = speed**2 / (2 * deceleration)
    y = side * float(min(layout.farthest_y, rng.uniform(*layout.start_y) + 0.5 * run_m))
    aim_x = float(rng.uniform(*layout.aim_x))
    return x, y, math.atan2(-y, aim_x - x)


def _apart(one: Thing, other: Thing, gap_m: float) -> bool:
    """Return whether two objects keep out of each other's way while they roll."""
    least = one.reach_m + other.reach_m + gap_m
    return all(math.dist(one.path(t), other.path(t)) > least for t in _AHEAD_S)


def _clear(thing: Thing, container: Container, gap_m: float) -> bool:
    """Return whether an object rolls clear of the container, with room for the hand."""
    least = thing.reach_m + container.reach_m + gap_m
    return all(math.dist(thing.path(t), container.position) > least for t in _AHEAD_S)


def draw_pushes(
    rng: np.random.Generator,
    environment: Environment,
    things: tuple[Thing, ...],
    layout: TableLayout,
) -> tuple[Push, ...]:
    """Draw the change of motion and the disturbances of an environment."""
    pushes: list[Push] = []
    if environment.turn_at_s is not None:
        pushes.append(_turn(rng, environment, things[0], layout.middle_x))
    for index, thing in enumerate(things):
        for _ in range(environment.pushes):
            angle, force = rng.uniform(-math.pi, math.pi), rng.uniform(0.2, 1.0)
            force *= environment.push_n * thing.mass_kg / 0.05
            torque = rng.uniform(-1.0, 1.0, 3) * environment.push_nm
            pushes.append(
                Push(
                    thing=index,
                    start_s=round(float(rng.uniform(0.3, 5.0)), 3),
                    duration_s=_PUSH_S,
                    force=(
                        round(force * math.cos(angle), 4),
                        round(force * math.sin(angle), 4),
                        0.0,
                    ),
                    torque=(
                        round(float(torque[0]), 5),
                        round(float(torque[1]), 5),
                        round(float(torque[2]), 5),
                    ),
                )
            )
    return tuple(pushes)


def _turn(
    rng: np.random.Generator, environment: Environment, thing: Thing, middle_x: float
) -> Push:
    """Return the push that changes where the target goes: towards the middle of the table."""
    assert environment.turn_at_s is not None
    at_s = round(float(rng.uniform(*environment.turn_at_s)), 3)
    change = float(rng.uniform(*environment.turn_speed))
    x, y = thing.path(at_s)
    towards = math.atan2(-y, middle_x - x) + float(rng.uniform(-0.9, 0.9))
    # A rolling body takes up only 1 / (1 + I / m r2) of an impulse at its centre.
    inertia = {"ball": 1.4, "can": 1.5}.get(thing.kind, 1.0)
    force = inertia * thing.mass_kg * change / _TURN_S
    return Push(
        thing=0,
        start_s=at_s,
        duration_s=_TURN_S,
        force=(round(force * math.cos(towards), 4), round(force * math.sin(towards), 4), 0.0),
    )
