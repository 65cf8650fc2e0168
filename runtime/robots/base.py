"""The contract of an arm driver; twins and real arms pass the same suite."""

from __future__ import annotations

from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray


class ArmReading(msgspec.Struct, frozen=True, kw_only=True):
    """What an arm reports of itself.

    Attributes:
        t_ns: when it was measured, host monotonic clock.
        setpoint: (8,) float64, measured TCP pose and gripper opening in [-1, 1].
        twist: (6,) float64 [m/s, rad/s], measured TCP velocity in the base frame.
        q: (n,) float64 [rad], joint positions.
        dq: (n,) float64 [rad/s], joint velocities.
        fault: empty, or what the arm says is wrong.
        standby: empty, or why an arm in order does not take commands yet: it was not taken over.
    """

    t_ns: int
    setpoint: NDArray[np.float64]
    twist: NDArray[np.float64]
    q: NDArray[np.float64]
    dq: NDArray[np.float64]
    fault: str = ""
    standby: str = ""


class ArmDriver(Protocol):
    """One arm. The controller calls it from one thread, at its own rate; nothing here blocks.

    The driver converts frames once and solves IK where the arm wants joints. It has no limits of
    its own beyond the arm's: what reaches ``command`` has passed the envelope, and its gripper is a
    decision (``dvla.runtime.gripper``): +1 to open, -1 to close, or the opening as it was found,
    which leaves the gripper alone. Where an arm has to be taken over first, the driver also has
    ``engage(now_ns)``: it begins to, ``read`` goes on with it, and its readings are in ``standby``
    until it is done. Where a fault lasts until it is ended, ``recover(now_ns)`` begins to, without
    motion; it is called on a person's request alone. What a person should know and is no fault, it
    may say in ``notice``.
    """

    def read(self, now_ns: int) -> ArmReading:
        """Return the newest reading; on a twin this first advances physics to ``now_ns``."""

    def command(self, setpoint: NDArray[np.float64], now_ns: int) -> None:
        """Send one setpoint (8,) to be reached now."""

    def close(self) -> None:
        """Leave the arm in hold, enabled, and let go of it."""
