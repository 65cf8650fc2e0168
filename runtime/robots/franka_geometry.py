"""The Franka's body and what its joints may do.

Range and speed are the maker's for the FR3, as are 10 rad/s2 and 5000 rad/s3 for every joint of it.
Capsules are those of the twin, with one about the hand and one about the closed fingers.
"""

from __future__ import annotations

import math

import msgspec

from dvla.runtime.geometry import TABLE, ArmGeometry, LinkCapsule, Triple
from dvla.runtime.limits import JointLimits
from dvla.runtime.twin.arm_model import (
    BASE_CAPSULE,
    DH_TABLE,
    DQ_LIMIT,
    FLANGE_M,
    HAND_TCP_M,
    HOME_Q,
    LINK_CAPSULES,
    Q_LOWER,
    Q_UPPER,
)

_C = math.sqrt(0.5)
FINGER_RADIUS_M = 0.009
HAND_RADIUS_M = 0.030


def _hand(x: float, y: float, z: float) -> Triple:
    """Return a point of the hand in the frame of link 7; the hand is turned by -45 degrees."""
    return _C * (x + y), _C * (y - x), FLANGE_M + z


FRANKA_GEOMETRY = ArmGeometry(
    rows=tuple((a, alpha, d, 0.0) for a, alpha, d in DH_TABLE),
    tool=(
        (_C, _C, 0.0, 0.0),
        (-_C, _C, 0.0, 0.0),
        (0.0, 0.0, 1.0, FLANGE_M + HAND_TCP_M),
        (0.0, 0.0, 0.0, 1.0),
    ),
    posture=HOME_Q,
    turn_m_per_rad=0.3,
    capsules=(
        LinkCapsule(link=0, radius_m=BASE_CAPSULE[0], start=BASE_CAPSULE[1], end=BASE_CAPSULE[2]),
        *(
            LinkCapsule(link=link, radius_m=radius, start=start, end=end)
            for link, (_, radius, start, end) in enumerate(LINK_CAPSULES, 1)
        ),
        LinkCapsule(
            link=7, radius_m=HAND_RADIUS_M,
            start=_hand(0.0, -0.065, 0.030), end=_hand(0.0, 0.065, 0.030),
        ),
        LinkCapsule(
            link=7, radius_m=FINGER_RADIUS_M,
            start=_hand(0.0, 0.0, 0.060), end=_hand(0.0, 0.0, HAND_TCP_M - FINGER_RADIUS_M),
        ),
    ),
)  # fmt: skip

FRANKA_JOINTS = JointLimits(
    geometry=FRANKA_GEOMETRY,
    lower=Q_LOWER,
    upper=Q_UPPER,
    velocity=DQ_LIMIT,
    acceleration=(10.0,) * 7,
    jerk=(5000.0,) * 7,
    min_manipulability=0.004,
    self_clearance_m=0.01,
    planes=(TABLE,),
)

FRANKA_TWIN_JOINTS = msgspec.structs.replace(
    FRANKA_JOINTS,
    velocity=tuple(2.0 * bound for bound in DQ_LIMIT),
    acceleration=(80.0,) * 7,
)
"""The twin's servos have no bound on acceleration, and lag where a speed is over the range of
the real arm's: close to the base, 1.1 m/s of the TCP are 4.5 rad/s and 65 rad/s2 of joints 2 and 4
(oracle at 200 ms). The real arm would refuse that, so its gate does."""
