"""Robots: limits, geometry and drivers, by name."""

from __future__ import annotations

import msgspec

from dvla.runtime.errors import ConfigError
from dvla.runtime.limits import ArmLimits
from dvla.runtime.robots.franka import FRANKA_LIMITS, FRANKA_START, FRANKA_TWIN_LIMITS
from dvla.runtime.robots.piper.limits import PIPER_LIMITS
from dvla.runtime.robots.replay import REPLAY_LIMITS


class Robot(msgspec.Struct, frozen=True, kw_only=True):
    """A robot that runs can name.

    Attributes:
        name: what ``--robot`` takes.
        limits: shipped limits of the real arm.
        twin_limits: of its digital twin, whose joints may do more.
        twin: whether ``--sim`` can stand in for it.
        start_pose: (6,) where the policy starts when nobody says otherwise: x, y, z [m] and
            extrinsic xyz Euler angles [rad]; empty: where the arm stands.
        driver: whether there is a driver of the real arm.
    """

    name: str
    limits: ArmLimits
    twin_limits: ArmLimits
    twin: bool
    driver: bool
    start_pose: tuple[float, ...] = ()

    def limits_for(self, *, sim: bool) -> ArmLimits:
        """Return what the gate enforces on the arm, or on its twin."""
        return self.twin_limits if sim else self.limits


ROBOTS = {
    "franka": Robot(
        name="franka",
        limits=FRANKA_LIMITS,
        twin_limits=FRANKA_TWIN_LIMITS,
        twin=True,
        driver=True,
        start_pose=FRANKA_START,
    ),
    "piper": Robot(
        name="piper", limits=PIPER_LIMITS, twin_limits=PIPER_LIMITS, twin=True, driver=True
    ),
    "replay": Robot(
        name="replay", limits=REPLAY_LIMITS, twin_limits=REPLAY_LIMITS, twin=False, driver=False
    ),
}


def robot_by_name(name: str) -> Robot:
    """Return a robot.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in ROBOTS:
        raise ConfigError("unknown robot", got=repr(name), choices=sorted(ROBOTS))
    return ROBOTS[name]


def robot_with_twin(name: str) -> Robot:
    """Return a robot that can be simulated.

    Raises:
        ConfigError: there is none of that name, or it has no digital twin.
    """
    robot = robot_by_name(name)
    if not robot.twin:
        twins = sorted(other.name for other in ROBOTS.values() if other.twin)
        raise ConfigError(f"the {name} has no digital twin in this version", choices=twins)
    return robot
