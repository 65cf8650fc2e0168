"""What a run on a real arm needs besides a policy: checked before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvla.engines.errors import UsageError
from dvla.runtime.cameras.spec import parse_camera
from dvla.runtime.robots import Robot
from dvla.runtime.robots.hardware import FULL_SPEED_PERCENT, Hardware, hardware_of

if TYPE_CHECKING:
    from dvla.runtime.run_config import RunConfig

FILMS = ("video", "lerobot")
WHERE = {"piper": ("--can", "can0"), "franka": ("--host", "172.16.0.2")}
"""How a run, or ``dvla-arm run``, is told where an arm is: flag and example."""


def check_connection(config: RunConfig, robot: Robot) -> None:
    """Raise unless what is said of the arm's connection goes with the arm that is meant.

    Raises:
        UsageError: it does not.
    """
    given = {"--can": config.can, "--host": config.host}
    own = WHERE.get(robot.name, ("", ""))[0]
    for flag, value in given.items():
        if value and (config.sim or flag != own):
            raise UsageError(
                f"{flag} leads to "
                + (f"another arm than a {robot.name}" if own and not config.sim else "a real arm"),
                got=f"{flag} {value}"
                + (" with --sim" if config.sim else f", --robot {robot.name}"),
                expected=f"{own} for a real {robot.name}" if own else "no connection",
                next_command=f"leave {flag} out",
            )
        if value and config.arm_address:
            raise UsageError(
                f"{flag} starts an arm controller, and --arm-address connects to one that runs",
                next_command="leave one of the two out",
            )
    details = {
        "--speed-percent": (config.speed_percent != FULL_SPEED_PERCENT, "--can"),
        "--load-kg": (config.load_kg != 0.0, "--host"),
        "--no-realtime": (not config.realtime, "--host"),
    }
    for flag, (changed, needed) in details.items():
        if changed and not given[needed]:
            raise UsageError(
                f"{flag} has a meaning only with {needed}",
                got=f"no {needed}",
                expected=f"{needed} here, or {flag} said to dvla-arm run where that has the arm",
            )
    if config.override and config.arm_address:
        raise UsageError(
            "--override widens limits of the controller that the run starts; this one runs already",
            next_command="dvla-arm run --override ..., where the controller is started",
        )


def check_real_arm(config: RunConfig, robot: Robot) -> None:
    """Raise unless a run without a twin knows its arm, its task and its cameras.

    Raises:
        UsageError: something of a twin was asked for, or something of a real arm is missing.
    """
    flag, example = WHERE[robot.name]
    if not (config.can or config.host or config.arm_address):
        twin = "; or --sim for its digital twin" if robot.twin else ""
        raise UsageError(
            f"nothing says where the real {robot.name} is",
            expected=f"{flag} {example}; or --arm-address local or tcp://HOST:PORT, where "
            f"dvla-arm run listens{twin}",
            next_command=f"dvla-arm run --robot {robot.name} {flag} {example}",
        )
    if config.policy == "oracle":
        raise UsageError(
            f"--policy oracle sees the true state of a digital twin; a real {robot.name} has none",
            expected="--bundle BUNDLE, or --sim",
            next_command=f"dvla-run --robot {robot.name} --sim --policy oracle",
        )
    if not config.task.strip():
        raise UsageError(
            f"a run on a real {robot.name} needs its instruction; only a twin makes its own",
            got="no --task",
            expected='--task "put the can into the bowl"',
        )
    if config.arm_model is not None:
        raise UsageError("--arm-model is the look of a twin", next_command="leave it out")
    _check_cameras(config, robot)


def _check_cameras(config: RunConfig, robot: Robot) -> None:
    for text in config.camera:
        kind = parse_camera(text).kind
        if kind == "twin":
            raise UsageError(
                f"a real {robot.name} has no twin for a camera to look at",
                got=f"--camera {text}",
                expected="a camera of the kind v4l2, realsense or orbbec; in shadow also a film",
            )
        if kind in FILMS and config.execute:
            raise UsageError(
                "a film shows what was: an arm that moves has to see what is",
                got=f"--camera {text} with --execute",
                expected="a camera of the kind v4l2, realsense or orbbec; films are for shadow",
            )


def hardware_of_run(config: RunConfig, robot: Robot) -> Hardware | None:
    """Return the arm that the run itself connects to; None where a controller or a twin does."""
    if not (config.can or config.host):
        return None
    return hardware_of(
        robot.name,
        Hardware(
            can=config.can,
            speed_percent=config.speed_percent,
            host=config.host,
            load_kg=config.load_kg,
            realtime=config.realtime,
        ),
    )
