"""Where objects start on an arm's table, how large and how fast they are: what the arm can serve.

The Franka's numbers are those of the frozen benchmark. The PiPER's are the same scene made small
enough for it: speeds by what its hand can do, sizes by what its gripper opens to, places by where
a hand that points down can go.
"""

from __future__ import annotations

import msgspec

Range = tuple[float, float]


class TableLayout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What drawings of scenes need to know of an arm; all lengths in its base frame.

    Attributes:
        speed_max: of objects at the start [m/s].
        size: of objects and containers, over those of the Franka's table.
        start_x / aim_x: where a moving object of the plain scene starts, and the place on the
            centre line that it heads for [m].
        start_y: how far to the side it starts when it is slow; farthest_y when it is fast [m].
        scene_x: as ``start_x``, in the scenes of the dimensions [m].
        rest_x / rest_y: where objects rest, y to either side [m].
        lanes_x: middles of the lanes in which objects roll side by side [m].
        lane_y: how far to the side they start there [m].
        middle_x: on the centre line; what changes its motion turns towards it [m].
        container_x / container_y / container_half: place and half side of a container [m].
        gap_m: between things; the open hand needs that much beside what it takes.
        served_x / served_y: an object that leaves this part of the table is out of reach [m].
    """

    speed_max: float
    size: float
    start_x: Range
    start_y: Range
    farthest_y: float
    aim_x: Range
    scene_x: Range
    rest_x: Range
    rest_y: float
    lanes_x: tuple[float, ...]
    lane_y: Range
    middle_x: float
    container_x: Range
    container_y: Range
    container_half: Range
    gap_m: float
    served_x: Range
    served_y: float

    @property
    def speed_share(self) -> float:
        """Speeds over those of the Franka's table."""
        return self.speed_max / FRANKA_LAYOUT.speed_max


FRANKA_LAYOUT = TableLayout(
    speed_max=0.75,
    size=1.0,
    start_x=(0.40, 0.56),
    start_y=(0.1, 0.3),
    farthest_y=0.42,
    aim_x=(0.42, 0.54),
    scene_x=(0.38, 0.58),
    rest_x=(0.32, 0.62),
    rest_y=0.34,
    lanes_x=(0.34, 0.43, 0.52, 0.61),
    lane_y=(0.12, 0.30),
    middle_x=0.48,
    container_x=(0.28, 0.62),
    container_y=(0.20, 0.34),
    container_half=(0.075, 0.090),
    gap_m=0.055,
    served_x=(0.15, 0.80),
    served_y=0.60,
)

PIPER_LAYOUT = TableLayout(
    # Three quarters of what the PiPER's shaper lets the hand do; the rest closes the distance.
    speed_max=0.30,
    # The jaws open to 70 mm and the Franka's to 80: 10 mm are free on either side of the largest.
    size=5.0 / 6.0,
    start_x=(0.26, 0.36),
    start_y=(0.06, 0.18),
    farthest_y=0.27,
    aim_x=(0.27, 0.35),
    scene_x=(0.25, 0.37),
    rest_x=(0.21, 0.38),
    rest_y=0.23,
    lanes_x=(0.20, 0.26, 0.32, 0.38),
    lane_y=(0.08, 0.19),
    middle_x=0.31,
    container_x=(0.20, 0.36),
    container_y=(0.18, 0.26),
    container_half=(0.066, 0.076),
    gap_m=0.045,
    served_x=(0.10, 0.52),
    served_y=0.42,
)
