"""Instructions from attributes: expressions that pick out one object, and their wording.

Left and right are as the arm sees them: y of the base points left, x away from it. Sizes, places
and speeds are those at the start of the episode. The meaning of an expression is ``referents``;
an instruction is only made of one whose meaning is the target alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Literal, get_args

import msgspec
import numpy as np

from dvla.runtime.twin.scenes.choice import TaskKind
from dvla.runtime.twin.scenes.forms import COLOURS, FORMS, UNSEEN_COLOURS, UNSEEN_FORMS
from dvla.runtime.twin.scenes.spec import CONTAINER_COLOURS, CONTAINERS, Container, Thing

Size = Literal["largest", "smallest"]
Place = Literal["leftmost", "rightmost", "nearest", "farthest"]
Motion = Literal["moving", "still", "fastest", "slowest", "left-going", "right-going"]
Attribute = Literal["colour", "size", "place", "motion"]
MARGIN = 1.12
"""By how much an extreme must beat the next for people to see it: a ratio of sizes."""
PLACE_MARGIN_M, SPEED_MARGIN = 0.04, 0.12
STILL_SPEED = 0.02

_PICK = (
    "pick up {x}", "grab {x}", "catch {x}", "take {x}", "please pick up {x}", "get {x}",
    "lift {x} off the table", "bring me {x}",
)  # fmt: skip
_PLACE = (
    "put {x} in {c}", "place {x} into {c}", "drop {x} into {c}", "pick up {x} and put it in {c}",
    "move {x} to {c}", "please put {x} into {c}",
)  # fmt: skip
_LONG = (
    "put {x} and then {y} in {c}", "first put {x} in {c}, then {y}",
    "place {x} into {c}, after that {y}", "fill {c} with {x}, then with {y}",
)  # fmt: skip


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """A description of one object; None says nothing about that attribute.

    Filters (form, colour, whether and where it goes) come first; an extreme (size, place, speed)
    is among what they leave.
    """

    form: str | None = None
    colour: str | None = None
    size: Size | None = None
    place: Place | None = None
    motion: Motion | None = None

    @property
    def text(self) -> str:
        """The description in words."""
        words = (self.size, self.place, self.motion, self.colour)
        return " ".join(["the", *(word for word in words if word), self.form or "object"])


def referents(expression: Expression, things: Sequence[Thing]) -> list[int]:
    """Return the indices of the objects that an expression can mean, those in doubt included."""
    left = [i for i, thing in enumerate(things) if _passes(expression, thing)]
    if expression.size:
        sign = 1.0 if expression.size == "largest" else -1.0
        left = _extreme(left, lambda i: sign * math.log(volume_m3(things[i])), 3 * math.log(MARGIN))
    if expression.place:
        axis, sign = _AXIS[expression.place]
        left = _extreme(left, lambda i: sign * things[i].position[axis], PLACE_MARGIN_M)
    if expression.motion in ("fastest", "slowest"):
        sign = 1.0 if expression.motion == "fastest" else -1.0
        left = _extreme(left, lambda i: sign * things[i].speed, SPEED_MARGIN)
    return left


_AXIS: dict[Place, tuple[int, float]] = {
    "leftmost": (1, 1.0), "rightmost": (1, -1.0), "nearest": (0, -1.0), "farthest": (0, 1.0),
}  # fmt: skip


def _passes(expression: Expression, thing: Thing) -> bool:
    """Return whether an object passes the filters."""
    if expression.form not in (None, thing.form) or expression.colour not in (None, thing.colour):
        return False
    side = thing.velocity[1]
    return {
        "moving": thing.speed > STILL_SPEED,
        "still": thing.speed <= STILL_SPEED,
        "left-going": side > STILL_SPEED,
        "right-going": side < -STILL_SPEED,
    }.get(expression.motion or "", True)


def _extreme(indices: list[int], value: Callable[[int], float], margin: float) -> list[int]:
    """Return the index of the largest value and all that come within the margin of it."""
    if len(indices) < 2:
        return indices
    best = max(value(i) for i in indices)
    return [i for i in indices if value(i) > best - margin]


def volume_m3(thing: Thing) -> float:
    """Return the volume of an object's primitive: what its size is ranked by."""
    r, h = thing.radius_m, thing.half_length_m
    if thing.kind == "ball":
        return 4.0 / 3.0 * math.pi * r**3
    if thing.kind in ("can", "cup"):
        return 2.0 * math.pi * r * r * h
    return 8.0 * r * r * h


def candidates(thing: Thing, wanted: Attribute) -> Iterator[Expression]:
    """Yield expressions that use an attribute of an object, the shortest first."""
    options: dict[str, tuple[object, ...]] = {
        "size": get_args(Size) if wanted == "size" else (None,),
        "place": get_args(Place) if wanted == "place" else (None,),
        "motion": get_args(Motion) if wanted == "motion" else (None,),
    }
    for form, colour in ((None, False), (thing.form, False), (None, True), (thing.form, True)):
        if wanted == "colour" and not colour:
            continue
        for size, place, motion in product(*options.values()):
            yield Expression(
                form=form,
                colour=thing.colour if colour else None,
                size=size,  # type: ignore[arg-type]
                place=place,  # type: ignore[arg-type]
                motion=motion,  # type: ignore[arg-type]
            )


def describe(
    rng: np.random.Generator, things: Sequence[Thing], target: int, wanted: Attribute
) -> Expression | None:
    """Return a description that means the target alone, or None where there is none.

    Where several do, a random one of the two shortest that name the form, so that wording varies.
    """
    unique = [e for e in candidates(things[target], wanted) if referents(e, things) == [target]]
    if not unique:
        return None
    named = [e for e in unique if e.form] or unique
    return named[int(rng.integers(min(2, len(named))))]


def instruct(
    rng: np.random.Generator,
    task: TaskKind,
    expressions: Sequence[Expression],
    container: Container | None,
) -> str:
    """Return an instruction for a task in one of its wordings."""
    wordings = {"pick": _PICK, "place": _PLACE, "long": _LONG}[task]
    wording = wordings[int(rng.integers(len(wordings)))]
    names = dict(zip("xy", (e.text for e in expressions), strict=False))
    return wording.format(**names, c=container.name if container else "")


def sentences() -> Iterator[str]:
    """Yield every wording with every taught word that may fill it, for a tokenizer to learn from.

    What is never drawn for training has no word here: a token of its own would stay as it was
    drawn at the start, while a word in pieces of others reads like any word that nobody taught.
    """
    colours = [colour for colour in COLOURS if colour not in UNSEEN_COLOURS]
    forms = [*(form for form in FORMS if form not in UNSEEN_FORMS), None]
    containers = [f"the {colour} {form}" for colour in CONTAINER_COLOURS for form in CONTAINERS]
    expressions = [Expression(form=form, colour=colour) for colour in colours for form in forms]
    for form in forms:
        expressions += [Expression(form=form, size=size) for size in get_args(Size)]
        expressions += [Expression(form=form, place=place) for place in get_args(Place)]
        expressions += [Expression(form=form, motion=motion) for motion in get_args(Motion)]
    for wording, (i, one) in product((*_PICK, *_PLACE, *_LONG), enumerate(expressions)):
        other = expressions[-1 - i]
        yield wording.format(x=one.text, y=other.text, c=containers[i % len(containers)])


def read_expression(text: str) -> Expression:
    """Return the expression that a description in words stands for: the inverse of its text."""
    words = text.split()
    return Expression(
        form=next((word for word in words if word in FORMS), None),
        colour=next((word for word in words[:-1] if word in COLOURS), None),
        size=next((word for word in get_args(Size) if word in words), None),
        place=next((word for word in get_args(Place) if word in words), None),
        motion=next((word for word in get_args(Motion) if word in words), None),
    )
