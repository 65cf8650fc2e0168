"""Where a real arm is connected, and how its driver is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from dvla.engines.errors import UsageError
from dvla.runtime.errors import ConfigError

if TYPE_CHECKING:
    from dvla.runtime.robots.base import ArmDriver


FULL_SPEED_PERCENT = 100


class Hardware(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The connection to a real arm.

    Attributes:
        can: of a PiPER: ``can0``, ``slcan:/dev/ttyACM0`` or ``virtual:NAME``.
        speed_percent: of a PiPER: share of full joint speed with which it follows.
        host: of a Franka: the address of its control box.
        load_kg: of a Franka: what it carries besides the hand, as set in its Desk.
        realtime: of a Franka: insist on a real-time kernel.
    """

    can: str = "can0"
    speed_percent: int = FULL_SPEED_PERCENT
    host: str = ""
    load_kg: float = 0.0
    realtime: bool = True

    def __post_init__(self) -> None:
        for name, low, high, unit in (
            ("speed_percent", 1, 100, "%"),
            ("load_kg", 0.0, 3.0, "kg"),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(
                    f"{name} is out of bounds", got=value, expected=f"{low} to {high} {unit}"
                )

    @property
    def words(self) -> str:
        """Where the arm is, and what was said of it."""
        if self.host:
            kernel = "" if self.realtime else ", any kernel"
            return f"control box {self.host}, load {self.load_kg:g} kg{kernel}"
        return f"bus {self.can}, {self.speed_percent} % speed"


def hardware_of(robot: str, hardware: Hardware) -> Hardware:
    """Return where a real arm is, once it is described.

    Raises:
        UsageError: the flag that its robot needs is missing.
    """
    if robot == "piper" and not hardware.can:
        raise UsageError(
            "the bus of the PiPER is missing",
            expected="--can can0, or --can slcan:/dev/ttyACM0",
            next_command="ip link set can0 up type can bitrate 1000000",
        )
    if robot == "franka" and not hardware.host:
        raise UsageError(
            "the address of the Franka's control box is missing",
            expected="--host 172.16.0.2, or --sim for its digital twin",
        )
    return hardware


def open_arm(robot: str, hardware: Hardware, wait: Callable[[], int], period_s: float) -> ArmDriver:
    """Connect to a real arm and hear from it; nothing is sent that could move it.

    Args:
        robot: its name in the registry.
        hardware: where it is.
        wait: sleeps until the next turn and returns its time [ns].
        period_s: time between commands.

    Raises:
        ConfigError: the connection is not described well.
        MissingDependency: its library is not installed.
        RobotFault: the arm is not heard.
    """
    if robot == "piper":
        from dvla.runtime.robots.piper.start import await_feedback, open_piper

        driver = open_piper(hardware.can, period_s, speed_percent=hardware.speed_percent)
        try:
            await_feedback(driver, wait)
        except BaseException:
            driver.close()
            raise
        return driver
    if robot == "franka":
        from dvla.runtime.robots.fci.start import open_franka

        return open_franka(
            hardware.host, period_s, load_kg=hardware.load_kg, realtime=hardware.realtime
        )
    raise ConfigError(f"there is no driver of a real {robot} in this version")
