"""What the gate knows of an arm's body: its joints' frames, capsules about its links, planes.

Plain numbers, so that limits can be written down, recorded and compared; no simulator is needed to
judge joints. The twin's geometry and the drivers' inverse kinematics use the same tables.
"""

from __future__ import annotations

from itertools import combinations

import msgspec

Triple = tuple[float, float, float]

NEIGHBOURS = 2
"""Capsules of links so close in the chain touch by construction."""


class LinkCapsule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A capsule on a link.

    Attributes:
        link: 0 for the base, i for the frame after joint i.
        radius_m: of the capsule.
        start / end: of its axis, in the link's frame [m].
    """

    link: int
    radius_m: float
    start: Triple
    end: Triple


class ArmGeometry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A serial arm.

    Attributes:
        rows: a [m], alpha [rad], d [m], theta [rad] per joint: Rx(alpha) Tx(a) Rz(q + theta) Tz(d).
        tool: (4, 4) the TCP in the last link.
        posture: what inverse kinematics weakly prefers [rad].
        turn_m_per_rad: what a radian of attitude weighs against position in it.
        capsules: about the links.
    """

    rows: tuple[tuple[float, float, float, float], ...]
    tool: tuple[tuple[float, float, float, float], ...]
    posture: tuple[float, ...]
    turn_m_per_rad: float
    capsules: tuple[LinkCapsule, ...] = ()

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Capsules that must not touch, by their places in ``capsules``."""
        return tuple(
            (i, j)
            for (i, a), (j, b) in combinations(enumerate(self.capsules), 2)
            if abs(a.link - b.link) > NEIGHBOURS
        )


class KeepOutPlane(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plane that nothing of the arm may pass: a table, a wall, a screen.

    Attributes:
        name: for people.
        normal: unit vector to the side where the arm is, robot base frame.
        offset_m: of the plane along its normal.
    """

    name: str
    normal: Triple
    offset_m: float


TABLE = KeepOutPlane(name="table", normal=(0.0, 0.0, 1.0), offset_m=0.0)
"""The arm stands on it."""
