"""Where and how to take an object: fingers down, closing across its axis or along its path."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.twin.bodies import FRANKA_BODY, TwinBody
from dvla.runtime.twin.objects import EpisodeSpec
from dvla.runtime.twin.scenes.spec import Thing


def grasp_yaw(
    spec: EpisodeSpec | Thing, quaternion: NDArray[np.float64], towards: float = 0.0
) -> float:
    """Return the yaw of a hand that points down and takes the object [rad].

    A ball and a standing cup are taken at a fixed yaw of zero; a can across its axis; a box by two
    of its faces, a brick by the two that are close together.

    Args:
        spec: for the kind of object.
        quaternion: (4,) attitude of the object, order w, x, y, z.
        towards: of the yaws that take it equally well, the one nearest to this is returned [rad].
    """
    w, x, y, z = (float(part) for part in quaternion)
    if spec.kind in ("ball", "cup"):
        return 0.0
    if spec.kind == "can":
        # The can's axis is its body z; the hand's x axis, along which the pads are flat, follows.
        axis = (2 * (x * z + w * y), 2 * (y * z - w * x))
        return _nearest(towards, math.atan2(axis[1], axis[0]), math.pi)
    forward = (1 - 2 * (y * y + z * z), 2 * (x * y + w * z))
    symmetry = math.pi if spec.kind == "brick" else math.pi / 2
    return _nearest(towards, math.atan2(forward[1], forward[0]), symmetry)


def grasp_z_m(spec: EpisodeSpec | Thing, body: TwinBody = FRANKA_BODY) -> float:
    """Return the height of the TCP of an arm at the grasp [m]."""
    return max(body.reach.lowest_grasp_m, spec.rest_z_m)


def within_reach(target: NDArray[np.float64], body: TwinBody = FRANKA_BODY) -> NDArray[np.float64]:
    """Return the target itself where a hand that points down can go, else the nearest such point.

    Args:
        target: (3,) [m].
        body: of the arm.
    """
    reach = body.reach
    x = min(max(float(target[0]), reach.x[0]), reach.x[1])
    y = min(max(float(target[1]), -reach.y), reach.y)
    shrink = min(1.0, reach.radius_m / math.hypot(x, y))
    if (x, y, shrink) == (target[0], target[1], 1.0):
        return target
    return np.array([x * shrink, y * shrink, target[2]])


def _nearest(towards: float, angle: float, symmetry: float) -> float:
    """Shift an angle by multiples of its symmetry to within half of it around another."""
    return angle - symmetry * round((angle - towards) / symmetry)
