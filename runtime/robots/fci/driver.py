"""The driver of a real Franka: joint targets from IK on the host, tracked at 1 kHz by franka-rs.

The library's loop runs on a thread of its own, written in Rust and away from Python's lock; this
driver writes a target into it and copies a state out. What blocks (connecting, starting the loop,
recovering) runs on a worker, and readings are in standby meanwhile. Phases:

    listening   a state is read now and then; the arm holds by itself
    engaging    the worker starts the target loop, at the joints as they are
    engaged     targets are written
    faulted     the loop has ended: the arm's own controller holds it; nothing is sent
    closed      the loop was ended at rest
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.errors import RobotFault
from dvla.runtime.pose import quaternion_from_matrix
from dvla.runtime.robots.base import ArmReading
from dvla.runtime.robots.fci.gripper import GripperThread
from dvla.runtime.robots.fci.kinematics import tcp_and_twist
from dvla.runtime.twin.arm_model import Q_LOWER, Q_UPPER

Phase = Literal["listening", "engaging", "engaged", "faulted", "closed"]
Work = Callable[[Callable[[], None]], None]

MAX_MISS_M, MAX_MISS_RAD = 0.05, 0.6
REST_RAD_S = 0.05
COLLISION_NM, COLLISION_N = 60.0, 60.0
"""Thresholds of the reflex; the impedance law itself needs at least 40 of each."""
LOST_SHARE = 0.5
"""The arm counts the commands that reach it in time; with fewer than this its loop soon aborts."""
LISTEN_EVERY_NS = 20_000_000


def in_thread(work: Callable[[], None]) -> None:
    """Run work on a thread of its own."""
    threading.Thread(target=work, name="fci-worker", daemon=True).start()


class FrankaDriver:
    """An ``ArmDriver`` over franka-rs, for one thread.

    Args:
        robot: ``franka.Robot``, connected.
        ik: of the Franka, for the rate at which ``command`` is called.
        gripper: the hand, or None without one.
        load_kg: what the arm has to believe that it carries; checked, and never set from here.
        work: runs what blocks.
    """

    def __init__(
        self,
        robot: Any,
        ik: Any,
        gripper: GripperThread | None,
        *,
        load_kg: float = 0.0,
        work: Work = in_thread,
    ) -> None:
        self._robot, self._ik, self._gripper, self._work = robot, ik, gripper, work
        self._load_kg = load_kg
        self._targets: Any = None
        self._phase: Phase = "listening"
        self._fault = ""
        self._started: Any = None  # what the worker brings: a loop of targets, or an error
        self._listening = False
        self._state = robot.read_once()
        self._robot_s = -1.0
        self._t_ns = 0

    @property
    def phase(self) -> Phase:
        """Where the driver is between listening and closed."""
        return self._phase

    @property
    def notice(self) -> str:
        """What a person should know that is no fault: the arm goes on without its hand."""
        if self._gripper is None:
            return "no hand answers: what is decided of the gripper goes nowhere"
        return f"the hand: {self._gripper.problem}" if self._gripper.problem else ""

    # -- reading -------------------------------------------------------------------------------

    def read(self, now_ns: int) -> ArmReading:
        """Return the newest reading; never waits for the network."""
        self._take(now_ns)
        state = self._state
        q, dq = np.array(state.q, np.float64), np.array(state.dq, np.float64)
        tcp, twist = tcp_and_twist(q, dq)
        setpoint = np.empty(8)
        setpoint[:3] = tcp[:3, 3]
        setpoint[3:7] = quaternion_from_matrix(tcp[:3, :3])
        setpoint[7] = self._gripper.opening if self._gripper is not None else 1.0
        standby = "" if self._phase in ("engaged", "faulted") else self._standby()
        return ArmReading(
            t_ns=self._t_ns,
            setpoint=setpoint,
            twist=twist,
            q=q,
            dq=dq,
            fault=self._fault,
            standby=standby,
        )

    def _standby(self) -> str:
        return f"not engaged: the arm is in mode {self._state.robot_mode!r}"

    def _take(self, now_ns: int) -> None:
        if self._phase == "engaging" and self._started is not None:
            started, self._started = self._started, None
            if isinstance(started, Exception):
                self._fail(f"the arm could not be taken over: {started}")
            else:
                self._targets = started
                self._ik.reset(np.array(self._state.q))
                self._phase = "engaged"
        if self._targets is not None:
            self._take_from_loop()
        elif not self._listening and now_ns - self._t_ns >= LISTEN_EVERY_NS:
            self._listening = True
            self._work(self._listen)
        if self._state.time != self._robot_s:
            # The arm's clock is not ours: a reading is as old as the news of it.
            self._robot_s, self._t_ns = self._state.time, now_ns

    def _take_from_loop(self) -> None:
        """Take what the library's loop says; one that has ended says nothing any more."""
        try:
            self._state = self._targets.state()
            ended = not self._targets.running
        except Exception:
            ended = True
        if self._phase == "engaged" and ended:
            self._fail(self._end_of_loop())
        elif self._phase == "engaged" and self._trouble():
            self._fail(self._trouble())
        if ended and self._phase != "closed":
            self._targets = None  # from now on the arm itself is asked

    def _listen(self) -> None:
        try:
            self._state = self._robot.read_once()
        except Exception as error:
            if self._phase == "listening":
                self._fail(f"the arm is not heard: {error}")
        self._listening = False

    def _trouble(self) -> str:
        state = self._state
        if state.current_errors:
            return f"the arm reports {', '.join(state.current_errors)}"
        if 0.0 < state.control_command_success_rate < LOST_SHARE:
            share = 100.0 * (1.0 - state.control_command_success_rate)
            return f"{share:.0f} % of the commands do not reach the arm in time"
        return ""

    def _end_of_loop(self) -> str:
        """Return why the library's loop ended, in the arm's words."""
        reason = ""
        try:
            self._targets.stop()
        except Exception as error:
            reason = str(getattr(error, "reason", "") or error)
        errors = ", ".join(self._state.last_motion_errors)
        return f"the arm ended the motion: {reason or errors or 'no reason given'}"

    # -- engaging ------------------------------------------------------------------------------

    def engage(self, now_ns: int) -> None:
        """Begin to take the arm over where it stands; ``read`` goes on with it.

        Raises:
            RobotFault: the arm is not fit for it.
        """
        wrong = self._unfit()
        if wrong:
            raise RobotFault("the Franka cannot be engaged", got=wrong)
        self._begin(self._start)

    def recover(self, now_ns: int) -> None:
        """Clear the arm's reflex and take it over where it stands; on a person's request alone."""
        if self._phase == "faulted":
            self._begin(self._recover)

    def _begin(self, work: Callable[[], None]) -> None:
        self._phase, self._fault, self._started = "engaging", "", None
        self._targets = None
        if self._gripper is not None:
            self._gripper.reset()
        self._work(work)

    def _unfit(self) -> str:
        state = self._state
        if self._phase == "closed":
            return "the driver is closed"
        if self._phase == "faulted":
            return f"it is in fault ({self._fault}); dvla-arm resume ends that"
        if state.robot_mode != "idle":
            return f"it is in mode {state.robot_mode!r}; release its brakes and its user stop"
        if float(np.abs(state.dq).max()) > REST_RAD_S:
            return f"it moves at {np.abs(state.dq).max():.2f} rad/s"
        if abs(float(state.m_load) - self._load_kg) > 0.05:
            return (
                f"it believes that it carries {state.m_load:.2f} kg, not {self._load_kg:.2f} kg; "
                "set the load in its Desk"
            )
        return ""

    def _start(self) -> None:
        try:
            thresholds = [COLLISION_NM] * 7, [COLLISION_N] * 6
            self._robot.set_collision_behavior_simple(
                thresholds[0], thresholds[0], thresholds[1], thresholds[1]
            )
            targets = self._robot.joint_targets(fraction=1.0)
            self._started = targets.__enter__()
        except Exception as error:
            self._started = error

    def _recover(self) -> None:
        try:
            self._robot.automatic_error_recovery()
            self._state = self._robot.read_once()
        except Exception as error:
            self._started = error
            return
        self._start()

    # -- commanding ----------------------------------------------------------------------------

    def command(self, setpoint: NDArray[np.float64], now_ns: int) -> None:
        """Send one setpoint (8,) to be reached now; without effect unless engaged."""
        if self._phase != "engaged":
            return
        if not np.isfinite(setpoint).all():
            self._fail("the setpoint is not finite")
            return
        q, miss_m = self._ik.step(setpoint, now_ns)
        if not miss_m <= MAX_MISS_M:
            self._fail(f"the joints cannot follow the setpoint: {1000 * miss_m:.0f} mm away")
            return
        try:
            self._targets.move_to(np.clip(q, Q_LOWER, Q_UPPER))
        except Exception as error:
            self._fail(f"the arm takes no targets: {error}")
            return
        if self._gripper is not None:
            self._gripper.want(float(setpoint[7]))

    def _fail(self, fault: str) -> None:
        """Latch a fault; the loop keeps the arm at its last joints, or has ended by itself."""
        if self._phase == "closed":
            return
        self._phase, self._fault = "faulted", fault
        if self._targets is not None and self._targets.running:
            self._targets.move_to(np.clip(np.array(self._state.q), Q_LOWER, Q_UPPER))

    def close(self) -> None:
        """End the loop at rest; the arm's own controller holds it, its motors stay on."""
        if self._phase == "closed":
            return
        self._phase = "closed"
        if self._gripper is not None:
            self._gripper.close()
        if self._targets is not None:
            try:
                self._targets.stop()
            except Exception as error:
                self._fault = str(error)
