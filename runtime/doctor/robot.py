"""What driving a robot needs on this host."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from dvla.runtime.preflight.finding import Finding, ok
from dvla.runtime.robots import robot_by_name

NEEDS = {"piper": ("can",)}
CAN_TYPE = "280"
"""What the kernel calls a CAN interface in its type file (ARPHRD_CAN)."""


def check_robot(name: str) -> list[Finding]:
    """Judge what a robot's driver and its bus need.

    Raises:
        ConfigError: there is no such robot.
    """
    robot = robot_by_name(name)
    needs = NEEDS.get(name, ())
    lacking = [module for module in needs if find_spec(module) is None]
    found = []
    if lacking:
        found.append(
            Finding(
                check=f"driver {name}",
                level="warn",
                got=f"not installed: {', '.join(lacking)}",
                expected="the packages of the driver, on the host that has the arm",
                next_command=f"pip install 'dvla[{name}]'",
            )
        )
    elif robot.driver:
        found.append(ok(f"driver {name}", "found"))
    elif robot.twin:
        found.append(ok(f"driver {name}", "only its digital twin in this version: --sim"))
    if name == "piper":
        found.append(_can())
    return found


def _can(root: Path = Path("/sys/class/net")) -> Finding:
    links = [
        path.parent.name
        for path in sorted(root.glob("*/type"))
        if path.read_text().strip() == CAN_TYPE
    ]
    if links:
        return ok("CAN", ", ".join(links))
    serial = sorted(str(path) for path in Path("/dev").glob("ttyACM*"))
    if serial:
        return ok("CAN", f"serial adapters: {', '.join(serial)} (slcan)")
    return Finding(
        check="CAN",
        level="warn",
        got="no CAN interface and no serial adapter",
        expected="one at 1 Mbit/s on the host that has the arm",
        next_command="ip link set can0 up type can bitrate 1000000",
    )
