"""The arms that have a twin: everything that world, renderer, driver, IK and expert ask of one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dvla.runtime.errors import ConfigError
from dvla.runtime.limits import JointLimits
from dvla.runtime.robots.franka_geometry import FRANKA_TWIN_JOINTS
from dvla.runtime.robots.piper import joints as piper_joints
from dvla.runtime.robots.piper.kinematics import DH_TABLE, TCP_OFFSET_M
from dvla.runtime.twin import arm_model, piper_twin
from dvla.runtime.twin.layout import FRANKA_LAYOUT, PIPER_LAYOUT, TableLayout
from dvla.runtime.twin.mjcf import FINGER_JOINTS
from dvla.runtime.twin.piper_twin import PIPER_JOINTS, PIPER_TCP_SITE
from dvla.runtime.twin.wrist import WristLimit

if TYPE_CHECKING:
    import mujoco

Triple = tuple[float, float, float]


class HandReach(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the hand still has joint range to spare over the table [m].

    Attributes:
        x: nearest and farthest.
        y: to either side.
        radius_m: from the axis of the base.
        lowest_grasp_m: height of the TCP with room between the finger tips and the table.
    """

    x: tuple[float, float]
    y: float
    radius_m: float
    lowest_grasp_m: float


class TwinBody(msgspec.Struct, frozen=True, kw_only=True):
    """An arm as its twin has it.

    Attributes:
        name: what ``--robot`` takes.
        code: the same in a snapshot.
        spec: makes its model, with another look where one is given, actuators named as joints.
        joint_limits: of its joints, which inverse kinematics keeps.
        other_looks: whether another look can be given.
        joints: names of its n joints.
        fingers: names of the two slides, each of which opens by ``finger_travel_m``.
        tcp_site: name of the TCP's site.
        start_q: (n,) where episodes start [rad].
        finger_travel_m: of each finger; 0 is closed.
        finger_speed: of each finger [m/s].
        opened_m: between the fingers; wider is open enough to go down over an object.
        reach: of the hand.
        wrist: what keeps the hand from pointing straight down everywhere; None when nothing does.
        layout: of its table.
        camera_at / camera_looks_at: place of the opposite camera, and a point on its axis [m].
    """

    name: str
    code: int
    spec: Callable[[Path | None], mujoco.MjSpec]
    joint_limits: JointLimits
    other_looks: bool = False
    joints: tuple[str, ...]
    fingers: tuple[str, str]
    tcp_site: str
    start_q: tuple[float, ...]
    finger_travel_m: float
    finger_speed: float
    opened_m: float
    reach: HandReach
    wrist: WristLimit | None = None
    layout: TableLayout
    camera_at: Triple
    camera_looks_at: Triple

    def refuse_look(self, look: Path | None) -> None:
        """Raise a ConfigError where another look is asked for and cannot be given."""
        if look is not None and not self.other_looks:
            raise ConfigError(
                f"--arm-model replaces the look of a twin; the {self.name}'s has only its own",
                got=str(look),
                next_command="leave --arm-model out, or take --robot franka",
            )

    @property
    def opening_m(self) -> float:
        """Widest opening between the fingers."""
        return 2 * self.finger_travel_m


FRANKA_BODY = TwinBody(
    name="franka",
    code=0,
    spec=arm_model.arm_spec,
    joint_limits=FRANKA_TWIN_JOINTS,
    other_looks=True,
    joints=arm_model.ARM_JOINTS,
    fingers=FINGER_JOINTS,
    tcp_site=arm_model.TCP_SITE,
    start_q=arm_model.HOME_Q,
    finger_travel_m=arm_model.FINGER_TRAVEL_M,
    # From the maker's data sheet of the hand.
    finger_speed=0.05,
    opened_m=0.069,
    # The finger tips reach 9 mm below the TCP.
    reach=HandReach(x=(0.27, 0.70), y=0.46, radius_m=0.74, lowest_grasp_m=0.020),
    layout=FRANKA_LAYOUT,
    camera_at=(1.0, 0.0, 0.6),
    camera_looks_at=(0.34, 0.0, 0.20),
)

_FORE, _WRIST = DH_TABLE[3], DH_TABLE[5]
PIPER_BODY = TwinBody(
    name="piper",
    code=1,
    spec=lambda look: piper_twin.piper_twin_spec(),
    joint_limits=piper_joints.PIPER_JOINTS,
    joints=PIPER_JOINTS,
    fingers=FINGER_JOINTS,
    tcp_site=PIPER_TCP_SITE,
    start_q=piper_twin.START_Q,
    finger_travel_m=piper_twin.FINGER_TRAVEL_M,
    finger_speed=0.05,
    opened_m=0.059,
    reach=HandReach(x=(0.17, 0.46), y=0.30, radius_m=0.48, lowest_grasp_m=0.018),
    wrist=WristLimit(
        shoulder_z_m=DH_TABLE[0].d,
        upper_m=DH_TABLE[2].a,
        fore_m=math.hypot(_FORE.a, _FORE.d),
        fore_rad=math.atan2(-_FORE.a, _FORE.d),
        hand_m=_WRIST.d + TCP_OFFSET_M,
        # Joint 5 ends at 1.22 rad.
        bend_rad=1.15,
    ),
    layout=PIPER_LAYOUT,
    camera_at=(0.72, 0.0, 0.42),
    camera_looks_at=(0.28, 0.0, 0.14),
)

BODIES = {body.name: body for body in (FRANKA_BODY, PIPER_BODY)}
OF_CODE = {body.code: body for body in BODIES.values()}


def twin_body(name: str) -> TwinBody:
    """Return an arm's.

    Raises:
        ConfigError: there is no twin of that name.
    """
    if name not in BODIES:
        raise ConfigError(f"the {name} has no digital twin in this version", choices=sorted(BODIES))
    return BODIES[name]


def body_of_code(code: int) -> TwinBody:
    """Return the arm behind the small integer of a snapshot.

    Raises:
        ConfigError: there is none; the snapshot is of another version.
    """
    if code not in OF_CODE:
        raise ConfigError("a snapshot is of an unknown arm", got=code, choices=sorted(BODIES))
    return OF_CODE[code]
