"""``dvla-arm verify-frames``: the host's kinematics against what a PiPER says of itself."""

from __future__ import annotations

import secrets
import time
from contextlib import closing

import msgspec

from dvla.engines.errors import UsageError
from dvla.runtime.arm_link import ArmLink
from dvla.runtime.errors import RobotFault
from dvla.runtime.robots import robot_by_name

POSE_WAIT_S = 2.0


class FramesReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared.

    Attributes:
        ok: within a millimetre and half a degree.
        text: the outcome in words.
        position_m / rotation_rad: of link6, the host's table against the arm's own end pose.
        old_position_m: the same by the maker's older table.
        tcp: the model's TCP in base_link: position [m] and quaternion (w first).
    """

    ok: bool
    text: str
    position_m: float
    rotation_rad: float
    old_position_m: float
    tcp: tuple[float, ...]


def verify_frames(
    robot: str = "piper",
    can: str = "can0",
    arm_name: str = "",
    json: bool = False,
    debug: bool = False,
) -> int:
    """Compare base_link to link6 by our table with what the arm reports; nothing is sent.

    Hold the arm in two or three attitudes and run it in each. The model's TCP is half a turn about
    link6's z and 0.1334 m along it: look whether the printed point is between the fingertips.

    Args:
        robot: Only the piper reports a pose to compare with.
        can: CAN bus: can0, or slcan:/dev/ttyACM0.
        arm_name: Name of the arm, so that nobody drives it meanwhile; the robot's when empty.
        json: Print the result as JSON.
        debug: Show tracebacks.
    """
    del debug  # read from the command line where the errors are told
    if robot_by_name(robot).name != "piper":
        raise UsageError("only the piper reports a pose to compare with", got=robot)
    report = measure(can, ArmLink(name=arm_name or robot))
    if json:
        print(msgspec.json.encode(report).decode())
    else:
        x, y, z, *quaternion = report.tcp
        turn = ", ".join(f"{value:.4f}" for value in quaternion)
        print(f"{'ok' if report.ok else 'NOT OK'}: {report.text}")
        print(f"  the model's TCP is at {x:.4f}, {y:.4f}, {z:.4f} m, attitude {turn} (w, x, y, z)")
    return 0 if report.ok else 1


def measure(can: str, link: ArmLink) -> FramesReport:
    """Listen to the arm and compare.

    Raises:
        LeaseError: a controller drives this arm.
        RobotFault: the arm does not report.
    """
    from dvla.bindings import ServoClock
    from dvla.runtime.lock import lock_arm
    from dvla.runtime.robots.piper.start import await_feedback, open_piper

    clock = ServoClock(4_000_000)
    with (
        lock_arm(link.serving(), session=secrets.randbits(62) + 1),
        closing(open_piper(can, 0.004)) as driver,
    ):
        await_feedback(driver, clock.wait)
        end_s = time.monotonic() + POSE_WAIT_S
        while True:
            reading = driver.read(clock.wait())
            try:
                check = driver.check_frames()
                break
            except RobotFault:
                if time.monotonic() > end_s:
                    raise
    return FramesReport(
        ok=check.ok,
        text=check.text,
        position_m=check.position_m,
        rotation_rad=check.rotation_rad,
        old_position_m=check.old_position_m,
        tcp=tuple(float(value) for value in reading.setpoint[:7]),
    )
