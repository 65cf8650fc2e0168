"""``dvla-arm run``: an arm controller of its own, to be commanded from this host or another."""

from __future__ import annotations

from pathlib import Path

from dvla.engines.errors import UsageError
from dvla.runtime.arm_link import LOCAL, ArmLink
from dvla.runtime.bounds import check_seed
from dvla.runtime.overrides import parse_override
from dvla.runtime.robots import robot_by_name, robot_with_twin
from dvla.runtime.robots.hardware import Hardware, hardware_of
from dvla.runtime.say import say
from dvla.runtime.twin.bodies import twin_body


def run(
    robot: str = "franka",
    sim: bool = False,
    address: str = LOCAL,
    keys: str = "",
    arm_name: str = "",
    can: str = "",
    speed_percent: int = 100,
    host: str = "",
    load_kg: float = 0.0,
    realtime: bool = True,
    task: str = "",
    seed: int = 0,
    arm_model: Path | None = None,
    shadow: bool = False,
    override: tuple[str, ...] = (),
    debug: bool = False,
) -> int:
    """Run the controller of one arm until Ctrl-C or SIGTERM, which stop the arm and hold it.

    It grants a lease: one commander at a time. dvla-run --arm-address connects to it. A real arm
    is read and not moved until a commander's preflight has passed and it asks to execute.

    Args:
        robot: Robot to control.
        sim: Control the robot's digital twin.
        address: Where to listen: local (this user, this host), or tcp://HOST:PORT (five ports).
        keys: Name of this host's key (dvla-keys make); beyond the loopback TCP needs keys.
        arm_name: Name of the arm: one lock and one set of sockets each; the robot's when empty.
        can: CAN bus of a real PiPER: can0, or slcan:/dev/ttyACM0.
        speed_percent: Share of full joint speed with which a real PiPER follows [%].
        host: Address of a real Franka's control box.
        load_kg: What a real Franka carries besides its hand, as set in its Desk [kg].
        realtime: Insist on a real-time kernel for a real Franka.
        task: What the twin puts on its table; anything when empty.
        seed: Seed of the twin's episodes.
        arm_model: MJCF file that replaces the look of the twin's arm.
        shadow: Begin in shadow: nothing moves until a run with --execute has been cleared. Real
            arms always do.
        override: Limits to widen for a time, counted from now: NAME=VALUE:SECONDS:REASON. It is
            told here, to every commander, and in the recordings of their runs; at its end the arm
            stops, and goes on with its own limits.
        debug: Show tracebacks.
    """
    del debug  # read from the command line where the errors are told
    known = robot_with_twin(robot) if sim else robot_by_name(robot)
    if sim:
        twin_body(known.name).refuse_look(arm_model)
    hardware = (
        None
        if sim
        else hardware_of(
            known.name,
            Hardware(
                can=can, speed_percent=speed_percent, host=host, load_kg=load_kg, realtime=realtime
            ),
        )
    )
    if sim and (can or host):
        raise UsageError("--can and --host lead to a real arm; a twin has neither")
    check_seed(seed)
    overrides = tuple(map(parse_override, override))
    link = ArmLink(name=arm_name or known.name, address=address, keys=keys)
    link.serving()
    from dvla.runtime.arm_host import ArmHost, arm_settings  # needs compiled extensions

    settings = arm_settings(
        known.name,
        link.name,
        task=task,
        seed=seed,
        shadow=shadow or not sim,
        arm_model=str(arm_model.resolve()) if arm_model else "",
        hardware=hardware,
        sim=sim,
        overrides=overrides,
    )
    return ArmHost(link, settings, say).main()
