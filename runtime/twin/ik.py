"""Differential inverse kinematics of the arm: one warm step per setpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.errors import RobotFault
from dvla.runtime.twin.arm_model import ARM_JOINTS, DQ_LIMIT, HOME_Q, TCP_SITE, arm_spec
from dvla.runtime.twin.dependencies import import_mink, import_mujoco

if TYPE_CHECKING:
    import mujoco

_POSTURE_COST = 1e-3
_DAMPING = 1e-6
_LONGEST_STEP_S = 0.1
"""A command is played for so long; nobody owes an arm the way of a longer silence."""


class IkArm(msgspec.Struct, frozen=True, kw_only=True):
    """What IK needs to know of an arm.

    Attributes:
        spec: makes its model.
        joints: names of its n joints.
        speed_limits: (n,) [rad/s].
        posture: (n,) [rad], where solving starts and what it weakly prefers.
        tcp_site: name of the TCP's site.
        orientation_m_per_rad: what a radian of attitude weighs against position; it counts where
            the joints cannot do both.
    """

    spec: Callable[[], mujoco.MjSpec]
    joints: tuple[str, ...]
    speed_limits: tuple[float, ...]
    posture: tuple[float, ...]
    tcp_site: str
    orientation_m_per_rad: float = 0.3


def franka_ik_arm(arm_model: Path | None = None) -> IkArm:
    """Return what IK needs to know of the Franka.

    Args:
        arm_model: MJCF file that replaces the arm's look.
    """
    return IkArm(
        spec=lambda: arm_spec(arm_model),
        joints=ARM_JOINTS,
        speed_limits=DQ_LIMIT,
        posture=HOME_Q,
        tcp_site=TCP_SITE,
    )


class DifferentialIk:
    """Follows TCP setpoints with joint positions, within joint position and velocity limits.

    Each call is one Gauss-Newton step from the previous solution, a QP of n unknowns (daqp);
    setpoints that come at servo rate are millimetres apart, so that one step is enough. A weak
    posture task keeps the elbow where home has it.

    Args:
        period_s: time between setpoints; with the joint velocity limits it bounds a step.
        arm_model: MJCF file that replaces the Franka's look.
        arm: the arm; the Franka by default.
    """

    def __init__(
        self, period_s: float, arm_model: Path | None = None, *, arm: IkArm | None = None
    ) -> None:
        mink, mujoco = import_mink(), import_mujoco()
        arm = arm or franka_ik_arm(arm_model)
        self._mink, self._mujoco = mink, mujoco
        self._period_s = period_s
        self._tcp_site = arm.tcp_site
        model = arm.spec().compile()
        self._at = np.array([model.joint(name).qposadr[0] for name in arm.joints])
        self._configuration = mink.Configuration(model)
        self._tcp = mink.FrameTask(
            frame_name=arm.tcp_site,
            frame_type="site",
            position_cost=1.0,
            orientation_cost=arm.orientation_m_per_rad,
        )
        self._posture = mink.PostureTask(model, cost=_POSTURE_COST)
        self._limits = [
            mink.ConfigurationLimit(model, gain=0.9),
            mink.VelocityLimit(model, dict(zip(arm.joints, arm.speed_limits, strict=True))),
        ]
        self.reset(np.array(arm.posture))
        self._posture.set_target_from_configuration(self._configuration)

    def reset(self, q: NDArray[np.float64]) -> None:
        """Start from joint positions (n,) [rad]."""
        full = np.array(self._configuration.q)
        full[self._at] = q
        self._configuration.update(full)

    @property
    def q(self) -> NDArray[np.float64]:
        """The solution so far (n,) [rad], a copy."""
        return np.array(self._configuration.q[self._at])

    def step(
        self, setpoint: NDArray[np.float64], elapsed_s: float = 0.0
    ) -> tuple[NDArray[np.float64], float]:
        """Move the solution one step towards a setpoint.

        Args:
            setpoint: (8,); the gripper is ignored.
            elapsed_s: since the last step, where it was longer than the period: joints may move
                for as long.

        Returns:
            Joint positions (n,) [rad] and the distance that is left to the setpoint [m].

        Raises:
            RobotFault: the QP has no solution, which the limits alone cannot cause.
        """
        target = self._mink.SE3(np.concatenate([setpoint[3:7], setpoint[:3]]))
        self._tcp.set_target(target)
        step_s = min(max(self._period_s, elapsed_s), _LONGEST_STEP_S)
        try:
            velocity = self._mink.solve_ik(
                self._configuration,
                [self._tcp, self._posture],
                step_s,
                solver="daqp",
                damping=_DAMPING,
                limits=self._limits,
            )
        except self._mink.NoSolutionFound as error:
            raise RobotFault("inverse kinematics has no solution", got=str(error)) from error
        self._configuration.integrate_inplace(velocity, step_s)
        at = self._configuration.data.site(self._tcp_site).xpos
        return self.q, float(np.linalg.norm(at - setpoint[:3]))
