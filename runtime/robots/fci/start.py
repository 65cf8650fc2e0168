"""Start-up of a Franka: connect, hear from it, compare frames. None of it is in a loop."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from dvla.engines.errors import MissingDependency
from dvla.runtime.errors import ConfigError, RobotFault
from dvla.runtime.ik import DifferentialIk
from dvla.runtime.robots.fci.driver import FrankaDriver
from dvla.runtime.robots.fci.gripper import GripperThread
from dvla.runtime.robots.franka_geometry import FRANKA_JOINTS
from dvla.runtime.twin.arm_model import HAND_TCP_M, forward_kinematics

INSTALL = 'pip install "dvla[franka]"'
FRAMES_M = 0.005


def open_franka(host: str, period_s: float, *, load_kg: float, realtime: bool) -> FrankaDriver:
    """Return a driver that listens; nothing is sent before it is engaged.

    Args:
        host: of the control box.
        period_s: time between commands.
        load_kg: what the arm has to believe that it carries.
        realtime: insist on a real-time kernel, as the maker does; without it the arm aborts motions
            for commands that come late.

    Raises:
        ConfigError: there is no host.
        MissingDependency: the extra ``franka`` is not installed.
        RobotFault: the arm is not heard, or is not the arm of our table.
    """
    if not host:
        raise ConfigError("the address of the Franka is missing", expected="--host 172.16.0.2")
    try:
        franka = importlib.import_module("franka")
    except ImportError as error:
        raise MissingDependency(
            "The Franka needs the Python package franka",
            got=str(error),
            next_command=INSTALL,
        ) from error
    with robot_faults(f"the Franka at {host} cannot be connected"):
        robot = franka.Robot(host, realtime="enforce" if realtime else "ignore")
        q = np.array(robot.read_once().q)
        # The library builds it from the description that the arm itself sends.
        flange = np.array(robot.model().pose("flange", q))
    check_flange(q, flange)
    ik = DifferentialIk(period_s, FRANKA_JOINTS)
    return FrankaDriver(robot, ik, open_hand(robot), load_kg=load_kg)


def open_hand(robot: Any) -> GripperThread | None:
    """Return the thread of the hand, or None where there is none."""
    try:
        return GripperThread(robot.gripper())
    except Exception:  # the library says it in its own error, of several kinds
        return None


@contextlib.contextmanager
def robot_faults(what: str) -> Iterator[None]:
    """Turn the library's errors into ours."""
    try:
        yield
    except (ConfigError, RobotFault):
        raise
    except Exception as error:
        advice = "look at its Desk: brakes released, FCI active, nobody else connected"
        if "realtime" in str(error):
            advice = "boot a kernel with PREEMPT_RT, or --no-realtime and expect aborted motions"
        raise RobotFault(what, got=str(error).rstrip("."), next_command=advice) from error


def check_flange(q: Any, flange: Any) -> None:
    """Compare the flange by our table with the arm's own description of itself.

    Args:
        q: (7,) [rad]; flange: (4, 4) in the base [m].

    Raises:
        RobotFault: they differ: the arm is another one.
    """
    ours = forward_kinematics(q)
    away_m = float(np.linalg.norm(ours[:3, 3] - HAND_TCP_M * ours[:3, 2] - flange[:3, 3]))
    if not away_m <= FRAMES_M:
        raise RobotFault(
            "the Franka's flange is not where our kinematics have it",
            got=f"{1000 * away_m:.1f} mm away",
            expected=f"at most {1000 * FRAMES_M:g} mm: an FR3 or a Panda",
        )
