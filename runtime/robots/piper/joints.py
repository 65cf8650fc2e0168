"""The PiPER's body and what its joints may do.

Range and speed are the maker's. As in the driver, attitude gives way where a joint ends: the TCP
may miss by 30 mm and 0.6 rad, and the others change pace at once there. The firmware follows MOVE J
targets with a profile of its own, so that acceleration and jerk only catch what is no motion.
"""

from __future__ import annotations

from dvla.runtime.geometry import TABLE, ArmGeometry, LinkCapsule
from dvla.runtime.limits import JointLimits
from dvla.runtime.robots.piper.body import LINK_CAPSULES, ORIENTATION_M_PER_RAD, PIPER_HOME_Q
from dvla.runtime.robots.piper.kinematics import (
    DH_TABLE,
    DQ_LIMIT,
    LINK6_TCP,
    Q_LOWER,
    Q_UPPER,
    TCP_OFFSET_M,
)

JAW_RADIUS_M = 0.009

PIPER_GEOMETRY = ArmGeometry(
    rows=tuple((row.a, row.alpha, row.d, row.theta) for row in DH_TABLE),
    tool=tuple(tuple(row) for row in LINK6_TCP.tolist()),
    posture=PIPER_HOME_Q,
    turn_m_per_rad=ORIENTATION_M_PER_RAD,
    capsules=(
        *(
            LinkCapsule(link=link, radius_m=radius, start=start, end=end)
            for link, (radius, start, end) in enumerate(LINK_CAPSULES, 1)
        ),
        LinkCapsule(
            link=6,
            radius_m=JAW_RADIUS_M,
            start=(0.0, 0.0, 0.08),
            end=(0.0, 0.0, TCP_OFFSET_M - JAW_RADIUS_M),
        ),
    ),
)

PIPER_JOINTS = JointLimits(
    geometry=PIPER_GEOMETRY,
    lower=Q_LOWER,
    upper=Q_UPPER,
    velocity=DQ_LIMIT,
    acceleration=(300.0,) * 6,
    jerk=(100_000.0,) * 6,
    margin_rad=0.01,
    min_manipulability=0.0005,
    self_clearance_m=0.005,
    max_miss_m=0.03,
    max_miss_rad=0.6,
    planes=(TABLE,),
)
