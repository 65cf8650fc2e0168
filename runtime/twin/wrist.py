"""How far a hand must lean out where the joint before its last one ends.

A wrist that bends by no more than 70 degrees lets the hand point straight down only over low and
near places. Elsewhere the hand leans outwards, away from the base, in the arm's vertical plane;
``WristLimit.lean`` is the least angle with which the joints can be there.
"""

from __future__ import annotations

import math

import msgspec

_LARGEST_LEAN = 1.2
_HALVINGS = 16


class WristLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two links and a hand in a vertical plane through the base's axis.

    Attributes:
        shoulder_z_m: height of the first link's joint, over the axis of the base.
        upper_m: from there to the elbow.
        fore_m: from the elbow to the wrist, straight.
        fore_rad: by which that line is above the axis that the wrist bends from.
        hand_m: from the wrist to the TCP.
        bend_rad: most that the wrist bends down, with some room to its end.
    """

    shoulder_z_m: float
    upper_m: float
    fore_m: float
    fore_rad: float
    hand_m: float
    bend_rad: float

    def lean(self, radius_m: float, height_m: float) -> float:
        """Return the least lean of the hand from straight down, outwards [rad].

        Args:
            radius_m: of the TCP from the axis of the base.
            height_m: of the TCP over the table.
        """
        if self._room(0.0, radius_m, height_m) >= 0.0:
            return 0.0
        low, high = 0.0, _LARGEST_LEAN
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if self._room(middle, radius_m, height_m) < 0.0:
                low = middle
            else:
                high = middle
        return high

    def _room(self, lean: float, radius_m: float, height_m: float) -> float:
        """Return how far the wrist is from its end with a lean, the elbow up [rad]."""
        x = radius_m - self.hand_m * math.sin(lean)
        z = height_m + self.hand_m * math.cos(lean) - self.shoulder_z_m
        far = math.hypot(x, z)
        inside = far * far + self.fore_m**2 - self.upper_m**2
        elbow = math.acos(max(-1.0, min(1.0, inside / (2.0 * far * self.fore_m))))
        fore = math.atan2(z, x) - elbow - self.fore_rad  # elevation of the forearm's axis
        return self.bend_rad + lean - math.pi / 2 - fore
