"""Environments: what the trials of one environment of a dimension have in common.

A dimension of the benchmark has ten. They are drawn here from the dimension's name and a number,
and kept as data in the benchmark, so that a change of the drawing cannot go unseen.
"""

from __future__ import annotations

import msgspec
import numpy as np

from dvla.runtime.twin.layout import FRANKA_LAYOUT, TableLayout
from dvla.runtime.twin.scenes.choice import FAMILIES, Family
from dvla.runtime.twin.scenes.forms import (
    MORE_COLOURS,
    MORE_FORMS,
    SEEN_COLOURS,
    UNSEEN_COLOURS,
    UNSEEN_FORMS,
    Form,
)
from dvla.runtime.twin.scenes.language import Attribute

ENVIRONMENTS = 10
SPEED_MAX = FRANKA_LAYOUT.speed_max
SEEN_FORMS: tuple[Form, ...] = ("ball", "can", "box", "apple", "bottle", "brick")
ROLLING: tuple[Form, ...] = ("ball", "can", "apple", "bottle")


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ranges and counts that the seeds of an environment draw from.

    Attributes:
        forms / colours: of the objects.
        speeds: of the targets at the start (least, most) [m/s].
        still: share of targets that rest.
        distractors: objects beside the targets; ``alike`` of them share the target's form and
            colour where the wanted attribute is another, else only one of the two.
        wanted: the attribute that the instruction must use.
        lanes: objects keep to parallel lanes, so that they do not meet.
        masses_kg: least and most.
        friction: factors of the deceleration (least, most).
        drag / turn_rate: most [N s/m], [rad/s].
        turn_at_s: when the object's motion changes once (least, most) [s]; None for never.
        turn_speed: change of its velocity then (least, most) [m/s].
        pushes: forces on each object; of at most ``push_n`` [N] and ``push_nm`` [N m].
        textures: whether objects and table may be patterned.
        look: 0 keeps the plain surroundings, 1 draws them from the whole range.
        camera_m: most that the opposite camera is off along each axis [m].
    """

    forms: tuple[Form, ...] = ("ball", "can", "box")
    colours: tuple[str, ...] = SEEN_COLOURS
    speeds: tuple[float, float] = (0.0, SPEED_MAX)
    still: float = 0.0
    distractors: int = 0
    alike: int = 0
    wanted: Attribute = "colour"
    lanes: bool = False
    masses_kg: tuple[float, float] = (0.05, 0.05)
    friction: tuple[float, float] = (1.0, 1.0)
    drag: float = 0.0
    turn_rate: float = 0.0
    turn_at_s: tuple[float, float] | None = None
    turn_speed: tuple[float, float] = (0.0, 0.0)
    pushes: int = 0
    push_n: float = 0.0
    push_nm: float = 0.0
    textures: bool = False
    look: float = 0.0
    camera_m: float = 0.0


def draw_environment(
    family: Family, index: int, layout: TableLayout = FRANKA_LAYOUT
) -> Environment:
    """Return an environment of a family.

    What moves is drawn for the Franka's table, and made slower by the share of its speeds that
    another arm's table has: speeds, changes of motion, and pushes.

    Args:
        family: a dimension, or one for training (where every seed has its own).
        index: 0 to 9 for a dimension.
        layout: of the arm's table.
    """
    drawn, share = _draw(family, index), layout.speed_share
    if share == 1.0:
        return drawn
    return msgspec.structs.replace(
        drawn,
        speeds=_slower(drawn.speeds, share),
        turn_speed=_slower(drawn.turn_speed, share),
        push_n=round(share * drawn.push_n, 4),
        push_nm=round(share * drawn.push_nm, 6),
    )


def _slower(speeds: tuple[float, float], share: float) -> tuple[float, float]:
    return round(share * speeds[0], 4), round(share * speeds[1], 4)


def _draw(family: Family, index: int) -> Environment:
    rng = np.random.default_rng((FAMILIES.index(family), index, 0xE7))
    lower = SPEED_MAX * index / ENVIRONMENTS
    upper = SPEED_MAX * (index + 1) / ENVIRONMENTS
    if family in ("training", "training-second"):
        return _training(rng)
    if family == "training-one":
        return _training_one(rng)
    if family == "training-wide":
        return msgspec.structs.replace(
            _training(rng),
            forms=(*SEEN_FORMS, *MORE_FORMS),
            colours=(*SEEN_COLOURS, *MORE_COLOURS),
        )
    common = {
        "look": 0.3,
        "camera_m": 0.005,
        "textures": bool(rng.random() < 0.3),
        "distractors": int(rng.integers(0, 2)),
    }
    own: dict[str, object]
    if family == "reactivity":
        # One step of speed after the other.
        own = {"speeds": (round(lower, 3), round(upper, 3)), "forms": ("ball", "can", "box")}
    elif family == "adaptation":
        change = 0.12 + 0.02 * index
        own = {
            "forms": ROLLING,
            "speeds": (0.1, 0.4),
            "turn_at_s": (0.6, 1.6),
            "turn_speed": (round(change, 3), round(change + 0.05, 3)),
        }
    elif family == "sequencing":
        own = {
            "forms": SEEN_FORMS,
            "speeds": (0.0, round(0.05 + 0.02 * index, 3)),
            "still": 0.5,
            "distractors": index // 5,
        }
    elif family == "visual":
        own = {
            "forms": SEEN_FORMS,
            "wanted": "size" if index % 3 == 2 else "colour",
            "alike": 1 + index // 5,
            "distractors": 2 + index // 5,
            "speeds": (0.0, round(0.1 + 0.03 * index, 3)),
            "still": 0.5,
        }
    elif family == "spatial":
        own = {
            "forms": SEEN_FORMS,
            "wanted": "place",
            "lanes": True,
            "alike": 1 + index // 5,
            "distractors": 2,
            "speeds": (0.0, round(0.05 + 0.015 * index, 3)),
            "still": 0.5,
        }
    elif family == "motion":
        own = {
            "forms": ROLLING,
            "wanted": "motion",
            "lanes": True,
            "alike": 1 + index // 5,
            "distractors": 2,
            "speeds": (0.1, round(0.25 + 0.015 * index, 3)),
            "still": 0.25,
        }
    elif family == "visual-shift":
        own = {
            "forms": UNSEEN_FORMS if index % 2 else (*SEEN_FORMS, *UNSEEN_FORMS),
            "colours": UNSEEN_COLOURS,
            "textures": True,
            "distractors": 1 + index // 5,
            "look": 1.0,
            "camera_m": round(0.01 + 0.003 * index, 3),
            "speeds": (0.0, 0.4),
        }
    elif family == "motion-shift":
        own = {
            "forms": ("ball", "can", "box", "apple"),
            "speeds": (0.3, SPEED_MAX),
            "friction": (0.4, 2.5),
            "turn_rate": round(0.2 + 0.08 * index, 3),
            "drag": round(0.002 * index, 4),
        }
    else:
        own = {
            "forms": SEEN_FORMS,
            "speeds": (0.0, 0.4),
            "still": 0.3,
            "masses_kg": (0.03, 0.08),
            "pushes": 2 + index // 3,
            "push_n": round(0.04 + 0.012 * index, 3),
            "push_nm": round(0.0005 * (1 + index), 4),
            "camera_m": 0.01,
        }
    return msgspec.convert(common | own, Environment)


def _training(rng: np.random.Generator) -> Environment:
    """Return an environment for training: everything that is seen, half of the targets at rest."""
    wanted: Attribute = ("colour", "size", "place", "motion")[int(rng.choice(4, p=_SHARES))]
    alike = int(rng.integers(0, 3))
    return Environment(
        forms=SEEN_FORMS,
        still=0.5,
        speeds=(0.0, SPEED_MAX if wanted in ("colour", "size") else 0.35),
        wanted=wanted,
        lanes=wanted in ("place", "motion"),
        alike=max(1, alike) if wanted != "colour" else alike,
        distractors=max(1, alike, int(rng.integers(0, 4)))
        if wanted != "colour"
        else max(alike, int(rng.integers(0, 4))),
        friction=(0.8, 1.25),
        turn_rate=0.2,
        pushes=int(rng.integers(0, 2)),
        push_n=0.05,
        push_nm=0.0005,
        textures=bool(rng.random() < 0.3),
        look=0.6,
        camera_m=0.01,
    )


def _training_one(rng: np.random.Generator) -> Environment:
    """Return an environment for training to catch: one object, now and then a second beside it."""
    return Environment(
        still=0.1,
        distractors=int(rng.random() < 0.3),
        friction=(0.8, 1.25),
        textures=bool(rng.random() < 0.3),
        look=0.5,
        camera_m=0.01,
    )


_SHARES = (0.55, 0.15, 0.15, 0.15)
