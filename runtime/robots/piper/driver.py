"""The driver of a real PiPER: joint targets by MOVE J, from IK on the host.

It has five phases:

    listening   nothing is sent; readings are in standby: the arm is not engaged
    engaging    the arm is taken over where it stands (``engagement``)
    engaged     commands are sent
    faulted     the present joints were written as the target once more; nothing else is sent
    closed      the arm was left in hold, enabled

The mode is asked for in ``engage`` alone: a person who takes the arm over by its button is not
overruled. Motors are never disabled: the arm would fall.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.errors import RobotFault
from dvla.runtime.pose import quaternion_from_matrix
from dvla.runtime.robots.base import ArmReading
from dvla.runtime.robots.piper.bus import FrameBus
from dvla.runtime.robots.piper.engagement import Engagement, moves, present_joints
from dvla.runtime.robots.piper.feedback import NEVER_NS, Listener
from dvla.runtime.robots.piper.gripper import GripperFrames
from dvla.runtime.robots.piper.health import follows, grip_lost, mode_words, silence, trouble
from dvla.runtime.robots.piper.kinematics import (
    GRIPPER_STROKE_M,
    Q_LOWER,
    Q_UPPER,
    FrameCheck,
    check_frames,
    tcp_and_twist,
)
from dvla.runtime.robots.piper.protocol import Frame, joint_target_frames, mode_frame
from dvla.runtime.rotation import rotation_between

Phase = Literal["listening", "engaging", "engaged", "faulted", "closed"]

HOLD_TICKS = 20
"""Times that the hold of a fault is written; frames get lost."""
CLOSE_TIMES = 3
FRESH_NS = 50_000_000
MAX_MISS_M, MAX_MISS_RAD = 0.03, 0.6
"""How far from the setpoint the TCP may be; where a joint ends, attitude gives way first."""
MAX_REFUSED_TICKS = 25


class JointSolver(Protocol):
    """Inverse kinematics that continues from its last solution."""

    def reset(self, q: NDArray[np.float64]) -> None:
        """Start from joint positions."""

    def step(
        self, setpoint: NDArray[np.float64], now_ns: int | None = None
    ) -> tuple[NDArray[np.float64], float]:
        """Return joint positions for a setpoint that is due now, and the distance left [m]."""


class PiperDriver:
    """An ``ArmDriver`` over a CAN bus, for one thread.

    Args:
        bus: to the arm.
        ik: of the PiPER, for the rate at which ``command`` is called.
        speed_percent: share of full joint speed with which MOVE J follows targets.
        gripper_effort_nm: most torque of the gripper.
    """

    def __init__(
        self,
        bus: FrameBus,
        ik: JointSolver,
        *,
        speed_percent: int = 100,
        gripper_effort_nm: float = 1.0,
    ) -> None:
        self._bus, self._ik = bus, ik
        self._mode_frame = mode_frame(speed_percent)
        self._gripper = GripperFrames(gripper_effort_nm)
        self._listener = Listener(bus)
        self.feedback = self._listener.feedback
        self._phase: Phase = "listening"
        self._fault = ""
        self._engagement: Engagement | None = None
        self._target: NDArray[np.float64] = np.zeros(6)
        self._hold_ticks = 0
        self._refused_ticks = 0

    @property
    def phase(self) -> Phase:
        """Where the driver is between listening and closed."""
        return self._phase

    # -- reading -------------------------------------------------------------------------------

    def read(self, now_ns: int) -> ArmReading:
        """Take what the bus holds, go on with engaging or holding, and return the reading.

        Raises:
            RobotFault: no joint positions have come yet, or the bus is gone.
        """
        try:
            self._listener.receive(now_ns)
        except RobotFault as gone:
            self._fail(str(gone), now_ns)
            raise
        feedback = self.feedback
        if feedback.joints_ns == NEVER_NS:
            raise RobotFault(
                "the PiPER has sent no joint positions",
                got=silence(feedback, now_ns),
                expected="its feedback on the CAN bus, 1 Mbit/s",
                next_command="check power, cable and `ip -details link show`",
            )
        self._turn(now_ns)
        tcp, twist = tcp_and_twist(feedback.q, feedback.dq)
        setpoint = np.empty(8)
        setpoint[:3] = tcp[:3, 3]
        setpoint[3:7] = quaternion_from_matrix(tcp[:3, :3])
        setpoint[7] = self._opening()
        return ArmReading(
            t_ns=feedback.joints_ns,
            setpoint=setpoint,
            twist=twist,
            q=feedback.q.copy(),
            dq=feedback.dq.copy(),
            fault=self._words(now_ns),
            standby=self._standby(),
        )

    def _turn(self, now_ns: int) -> None:
        """Go on with what the phase asks for."""
        if self._phase == "engaging":
            self._go_on_engaging(now_ns)
        elif self._phase == "engaged":
            wrong = silence(self.feedback, now_ns) or trouble(self.feedback)
            wrong = wrong or grip_lost(self.feedback)
            if wrong:
                self._fail(wrong, now_ns)
        elif self._phase == "faulted" and self._hold_ticks:
            self._hold_ticks -= 1
            self._send_target()

    def _words(self, now_ns: int) -> str:
        """Return the fault of this reading."""
        if self._phase == "engaged":
            return ""
        if self._phase == "faulted":
            return self._fault
        wrong = silence(self.feedback, now_ns)
        return wrong or trouble(self.feedback, target_states_count=self._phase != "engaging")

    def _standby(self) -> str:
        """Return why an arm in order takes no commands yet."""
        if self._phase in ("engaged", "faulted"):
            return ""
        return f"not engaged: the arm is in {mode_words(self.feedback.status)}"

    def _opening(self) -> float:
        gripper = self.feedback.gripper
        stroke_m = 0.0 if gripper is None else gripper.stroke_m
        return float(np.clip(2.0 * stroke_m / GRIPPER_STROKE_M - 1.0, -1.0, 1.0))

    def check_frames(self) -> FrameCheck:
        """Compare the host's kinematics with the end pose that the arm reports; sends nothing.

        Raises:
            RobotFault: the arm has not reported one yet.
        """
        if NEVER_NS in (self.feedback.pose_ns, self.feedback.joints_ns):
            raise RobotFault("the arm has reported no end pose yet", expected="0x2A2 to 0x2A7")
        return check_frames(self.feedback.q, self.feedback.end_pose)

    # -- engaging ------------------------------------------------------------------------------

    def engage(self, now_ns: int) -> None:
        """Begin to take the arm over where it stands; ``read`` goes on with it.

        It ends in phase "engaged", or in "faulted" with the reason in the readings.

        Raises:
            RobotFault: the arm is not fit for it: silent, in error, moving, or out of range.
        """
        if self._phase == "closed":
            raise RobotFault("the driver is closed")
        self._engagement = Engagement(self.feedback, self._mode_frame, now_ns)
        self._phase, self._fault = "engaging", ""
        self._hold_ticks = self._refused_ticks = 0

    def recover(self, now_ns: int) -> None:
        """Begin to take a faulted arm over again, where it stands; others stay as they are.

        Raises:
            RobotFault: the arm is not fit for it.
        """
        if self._phase == "faulted":
            self.engage(now_ns)

    def _go_on_engaging(self, now_ns: int) -> None:
        engagement = self._engagement
        assert engagement is not None
        self._send_all(engagement.step(now_ns))
        self._target = engagement.target
        if engagement.problem:
            self._fail(engagement.problem, now_ns)
        elif engagement.done:
            self._ik.reset(self._target)
            self._phase = "engaged"

    # -- commanding ----------------------------------------------------------------------------

    def command(self, setpoint: NDArray[np.float64], now_ns: int) -> None:
        """Send one setpoint (8,) to be reached now; without effect unless engaged."""
        if self._phase != "engaged":
            return
        if not np.isfinite(setpoint).all():
            self._fail("the setpoint is not finite", now_ns)
            return
        q, _ = self._ik.step(setpoint, now_ns)
        target = np.clip(q, Q_LOWER, Q_UPPER)
        miss_m, miss_rad = _miss(target, setpoint)
        # Written so that NaN fails as well.
        if not (miss_m <= MAX_MISS_M and miss_rad <= MAX_MISS_RAD):
            miss = f"{1000 * miss_m:.0f} mm, {np.degrees(miss_rad):.0f} deg away"
            self._fail(f"the joints cannot follow the setpoint: {miss}", now_ns)
            return
        self._target = target
        taken = self._send_target()
        self._refused_ticks = 0 if taken else self._refused_ticks + 1
        if self._refused_ticks > MAX_REFUSED_TICKS:
            self._fail("the CAN bus takes no frames", now_ns)
            return
        frame = self._gripper.frame(float(setpoint[7]), now_ns)
        if frame is not None:
            self._bus.send(frame)

    def _send_target(self) -> bool:
        return self._send_all(joint_target_frames(self._target))

    def _send_all(self, frames: tuple[Frame, ...]) -> bool:
        return all([self._bus.send(frame) for frame in frames])

    # -- holding -------------------------------------------------------------------------------

    def _fail(self, fault: str, now_ns: int) -> None:
        """Latch a fault; an arm that listens to us is told to stay where it is."""
        if self._phase == "closed":
            return
        held = self._phase in ("engaged", "engaging")
        self._phase, self._fault = "faulted", fault
        fresh = now_ns - self.feedback.joints_ns <= FRESH_NS
        # Old positions would be a motion; then the target that the arm has is the better hold.
        if held and fresh and follows(self.feedback.status):
            self._target = present_joints(self.feedback)
            self._hold_ticks = HOLD_TICKS

    def close(self) -> None:
        """Leave the arm in hold, enabled, and let go of the bus.

        An arm at rest keeps its target, so that it does not sink; a moving one is told to stay
        where it is.
        """
        if self._phase == "closed":
            return
        if self._phase == "engaged":
            if moves(self.feedback):
                self._target = present_joints(self.feedback)
            for _ in range(CLOSE_TIMES):
                self._send_target()
        self._phase = "closed"
        self._bus.close()


def _miss(q: NDArray[np.float64], setpoint: NDArray[np.float64]) -> tuple[float, float]:
    """Return how far the TCP of joint positions is from a setpoint [m, rad], by the arm's table."""
    tcp, _ = tcp_and_twist(q, np.zeros(6))
    turn = rotation_between(setpoint[3:7], quaternion_from_matrix(tcp[:3, :3]))
    return float(np.linalg.norm(tcp[:3, 3] - setpoint[:3])), float(np.linalg.norm(turn))
