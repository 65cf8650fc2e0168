"""The Franka's TCP and its velocity, from the joints: the table that its twin is built from."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.twin.arm_model import DH_TABLE, forward_kinematics

Float64 = NDArray[np.float64]


def tcp_and_twist(q: Float64, dq: Float64) -> tuple[Float64, Float64]:
    """Return the TCP in the base frame, and its velocity.

    Args:
        q: (7,) [rad].
        dq: (7,) [rad/s].

    Returns:
        (4, 4) homogeneous transform [m], and the twist (6,) [m/s, rad/s] in the base frame.
    """
    tcp = forward_kinematics(q)
    pose: Float64 = np.eye(4)
    linear, angular = np.zeros(3), np.zeros(3)
    for (a, alpha, d), angle, rate in zip(DH_TABLE, q.tolist(), dq.tolist(), strict=True):
        ca, sa, c, s = math.cos(alpha), math.sin(alpha), math.cos(angle), math.sin(angle)
        pose = pose @ np.array(
            [
                [c, -s, 0.0, a],
                [s * ca, c * ca, -sa, -d * sa],
                [s * sa, c * sa, ca, d * ca],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )
        axis = pose[:3, 2]
        linear += rate * np.cross(axis, tcp[:3, 3] - pose[:3, 3])
        angular += rate * axis
    return tcp, np.concatenate([linear, angular])
