"""The interlocks of a motion: what ends it, whatever its commander says."""

from __future__ import annotations

import msgspec
import numpy as np

from dvla.runtime.pose import Float64
from dvla.runtime.robots.base import ArmReading
from dvla.runtime.rotation import rotation_between
from dvla.runtime.stall import StallWatch


class ArmBounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The controller's own deadlines and interlocks.

    Attributes:
        command_deadline_s: longest time without an accepted command while following.
        lease_silence_s: the lease ends when its holder is silent for longer.
        reading_age_s: oldest driver reading with which the arm may move.
        tracking_m / tracking_rad: largest distance from commanded to measured pose.
    """

    command_deadline_s: float = 0.1
    lease_silence_s: float = 1.0
    reading_age_s: float = 0.1
    tracking_m: float = 0.3
    tracking_rad: float = 1.0


class Interlocks:
    """Watches an arm that follows.

    Args:
        bounds: deadlines and distances.
    """

    def __init__(self, bounds: ArmBounds) -> None:
        self._bounds = bounds
        self._stall = StallWatch()

    def reset(self) -> None:
        """Note that the arm does not follow."""
        self._stall.reset()

    def look(
        self,
        now_ns: int,
        reading: ArmReading,
        commanded: Float64,
        *,
        accepted_ns: int,
        end_ns: int,
        shadow: bool,
    ) -> str:
        """Return why the arm may not go on following, or an empty string.

        Args:
            now_ns: the time.
            reading: the driver's newest.
            commanded: (8,) what the driver was last sent.
            accepted_ns: when a command was last accepted.
            end_ns: until when the accepted commands suffice.
            shadow: the driver is sent nothing.
        """
        bounds = self._bounds
        if now_ns - accepted_ns > bounds.command_deadline_s * 1e9:
            return "no fresh command"
        if now_ns >= end_ns:
            return "commands ran out"
        if now_ns - reading.t_ns > bounds.reading_age_s * 1e9:
            return "arm state is stale"
        if shadow:
            return ""  # an arm that is not commanded stays behind
        tracking_m, tracking_rad = tracking(commanded, reading.setpoint)
        if not (tracking_m <= bounds.tracking_m and tracking_rad <= bounds.tracking_rad):
            return f"the arm is {tracking_m:.3f} m, {tracking_rad:.2f} rad from its command"
        return self._stall.look(now_ns, commanded, reading.setpoint)


def tracking(commanded: Float64, measured: Float64) -> tuple[float, float]:
    """Return how far a measured pose (8,) is from the commanded one [m, rad]."""
    distance = measured[:3] - commanded[:3]
    turn = rotation_between(commanded[3:7], measured[3:7])
    return float(np.sqrt(distance @ distance)), float(np.sqrt(turn @ turn))
