"""Forms of objects: one primitive that touches things, and parts that are only seen.

What an object does on the table and how it is taken follows from the primitive alone. The parts
make a bottle of a cylinder and an apple of a ball for a few dozen vertices.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Base = Literal["ball", "can", "box", "brick", "cup"]
"""Rolling ball, lying cylinder that rolls, sliding cube, sliding block, standing cylinder."""
Form = Literal[
    "ball", "can", "box", "apple", "bottle", "brick", "lemon", "cup",
    "pear", "die", "candle", "jar",
]  # fmt: skip
FORMS: tuple[Form, ...] = get_args(Form)
UNSEEN_FORMS: tuple[Form, ...] = ("lemon", "cup")
"""Never drawn for training."""
MORE_FORMS: tuple[Form, ...] = ("pear", "die", "candle", "jar")
"""Drawn for training alone, beside those that everything else draws."""
BASE: dict[Form, Base] = {
    "ball": "ball", "can": "can", "box": "box", "apple": "ball",
    "bottle": "can", "brick": "brick", "lemon": "ball", "cup": "cup",
    "pear": "ball", "die": "box", "candle": "cup", "jar": "can",
}  # fmt: skip
RADIUS_M: dict[Base, tuple[float, float]] = {
    "ball": (0.020, 0.030), "can": (0.020, 0.027), "box": (0.020, 0.027),
    "brick": (0.018, 0.024), "cup": (0.022, 0.028),
}  # fmt: skip
"""Half of what the fingers close on."""
HALF_LENGTH_M: dict[Base, tuple[float, float]] = {
    "can": (0.030, 0.040), "brick": (0.032, 0.042), "cup": (0.030, 0.038),
}  # fmt: skip
DECELERATION: dict[Base, float] = {
    "ball": 0.10, "can": 0.10, "box": 0.15, "brick": 0.15, "cup": 0.15,
}  # fmt: skip

Colour3 = tuple[float, float, float]
COLOURS: dict[str, Colour3] = {
    "red": (0.85, 0.12, 0.10), "orange": (0.95, 0.48, 0.08), "yellow": (0.95, 0.80, 0.10),
    "green": (0.12, 0.62, 0.22), "blue": (0.10, 0.32, 0.85), "purple": (0.52, 0.18, 0.68),
    "pink": (0.96, 0.52, 0.70), "cyan": (0.15, 0.78, 0.85), "brown": (0.42, 0.24, 0.12),
    "white": (0.94, 0.94, 0.92),
    "black": (0.08, 0.08, 0.09), "grey": (0.50, 0.50, 0.52), "magenta": (0.84, 0.08, 0.60),
    "navy": (0.06, 0.08, 0.38), "lime": (0.64, 0.92, 0.15), "olive": (0.50, 0.52, 0.12),
    "maroon": (0.50, 0.02, 0.18), "teal": (0.02, 0.45, 0.45), "gold": (0.80, 0.62, 0.05),
    "lavender": (0.70, 0.62, 0.92), "mint": (0.62, 0.92, 0.68), "tan": (0.82, 0.70, 0.50),
    "indigo": (0.25, 0.08, 0.55),
}  # fmt: skip
SEEN_COLOURS: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple")
UNSEEN_COLOURS: tuple[str, ...] = ("pink", "cyan", "brown", "white")
"""Never drawn for training."""
MORE_COLOURS: tuple[str, ...] = tuple(COLOURS)[len(SEEN_COLOURS) + len(UNSEEN_COLOURS) :]
"""Drawn for training alone; each is far from those that are never drawn."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part that is seen and touches nothing.

    Attributes:
        shape: ``sphere``, ``cylinder`` (along z) or ``box``.
        size: half sizes as MuJoCo takes them [m].
        at: centre in the object's frame [m].
        rgb: its colour; the object's own when None.
    """

    shape: Literal["sphere", "cylinder", "box"]
    size: Colour3
    at: Colour3
    rgb: Colour3 | None = None


def parts_of(form: Form, radius_m: float, half_length_m: float) -> tuple[Part, ...]:
    """Return what makes a form of its primitive.

    Args:
        form: of the object.
        radius_m: of the ball or the cylinder.
        half_length_m: along the cylinder's axis.
    """
    r, h = radius_m, half_length_m
    if form == "apple":
        stem = Part(shape="cylinder", size=(0.1 * r, 0.2 * r, 0), at=(0, 0, 1.1 * r), rgb=_STEM)
        leaf = Part(shape="box", size=(0.3 * r, 0.12 * r, 0.03 * r), at=(0.3 * r, 0, 1.15 * r),
                    rgb=_LEAF)  # fmt: skip
        return stem, leaf
    if form == "pear":
        upper = Part(shape="sphere", size=(0.62 * r,) * 3, at=(0, 0, 0.8 * r))
        stem = Part(shape="cylinder", size=(0.08 * r, 0.2 * r, 0), at=(0, 0, 1.5 * r), rgb=_STEM)
        return upper, stem
    if form == "die":
        pip, out = (0.25 * r,) * 3, 0.9 * r
        faces = ((out, 0, 0), (-out, 0, 0), (0, out, 0), (0, -out, 0), (0, 0, out), (0, 0, -out))
        return tuple(Part(shape="sphere", size=pip, at=at, rgb=_CAP) for at in faces)
    if form == "lemon":
        tip = (0.45 * r,) * 3
        return (
            Part(shape="sphere", size=tip, at=(0, 0, 0.85 * r)),
            Part(shape="sphere", size=tip, at=(0, 0, -0.85 * r)),
        )
    if form == "bottle":
        neck = Part(shape="cylinder", size=(0.42 * r, 0.30 * h, 0), at=(0, 0, 1.25 * h))
        cap = Part(shape="cylinder", size=(0.50 * r, 0.10 * h, 0), at=(0, 0, 1.6 * h), rgb=_CAP)
        return neck, cap
    if form == "jar":
        label = Part(shape="cylinder", size=(1.01 * r, 0.45 * h, 0), at=(0, 0, 0), rgb=_CAP)
        lid = Part(shape="cylinder", size=(0.9 * r, 0.08 * h, 0), at=(0, 0, 1.05 * h), rgb=_METAL)
        return label, lid
    if form == "candle":
        wick = Part(shape="cylinder", size=(0.05 * r, 0.15 * h, 0), at=(0, 0, 1.15 * h), rgb=_STEM)
        drip = Part(shape="cylinder", size=(0.6 * r, 0.001, 0), at=(0, 0, h), rgb=_CAP)
        return wick, drip
    if form == "cup":
        inside = Part(shape="cylinder", size=(0.85 * r, 0.002, 0), at=(0, 0, h), rgb=_INSIDE)
        handle = Part(shape="box", size=(0.006, 0.004, 0.5 * h), at=(1.15 * r, 0, 0))
        return inside, handle
    if form == "can":
        rim = (0.92 * r, 0.001, 0.0)
        return (
            Part(shape="cylinder", size=rim, at=(0, 0, h), rgb=_METAL),
            Part(shape="cylinder", size=rim, at=(0, 0, -h), rgb=_METAL),
        )
    return ()


_STEM, _LEAF = (0.30, 0.18, 0.08), (0.20, 0.55, 0.15)
_CAP, _INSIDE, _METAL = (0.95, 0.95, 0.95), (0.12, 0.12, 0.12), (0.75, 0.77, 0.80)
