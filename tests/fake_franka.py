"""A Franka without an arm: what franka-rs offers, over joints that lag, and it misbehaves.

Time moves in ``step``. The library's blocking calls return at once.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from dvla.runtime.twin.arm_model import DQ_LIMIT, HOME_Q, forward_kinematics


class Reflex(Exception):
    """The library's ``ControlException``."""

    reason = "cartesian_reflex"


class FakeHand:
    """A hand whose calls are recorded.

    Attributes:
        thing_m: width of what is between the fingers.
        holds: whether a grasp succeeds; grasped: whether something is held.
        lost: the library's error at the next call.
    """

    def __init__(self) -> None:
        self.width, self.thing_m = 0.08, 0.0
        self.calls: list[str] = []
        self.holds, self.grasped, self.lost = True, False, ""

    def read_once(self) -> Any:
        return SimpleNamespace(width=self.width, is_grasped=self.grasped)

    def move(self, width: float, speed: float) -> bool:
        self._call("move")
        self.width, self.grasped = width, False
        return True

    def grasp(self, width: float, speed: float, force: float, *epsilon: float) -> bool:
        self._call("grasp")
        self.width, self.grasped = max(width, self.thing_m), self.holds
        return self.holds

    def _call(self, name: str) -> None:
        self.calls.append(name)
        lost, self.lost = self.lost, ""
        if lost:
            raise Reflex(lost)


class FakeTargets:
    """A running target loop."""

    def __init__(self, robot: FakeRobot) -> None:
        self._robot = robot
        self.running, self.stopped = True, False
        self.target = robot.q.copy()

    def __enter__(self) -> FakeTargets:
        return self

    def move_to(self, q: Any) -> None:
        if not self.running:
            raise Reflex("the loop has ended")
        self._robot.sent.append(np.array(q))
        self.target = np.array(q)

    def state(self) -> Any:
        if self.stopped:
            raise Reflex("this target control was stopped; start a new one")
        return self._robot.state

    def stop(self) -> None:
        self.stopped = True
        if not self.running:
            raise Reflex("cartesian_reflex")
        self.running = False


class FakeRobot:
    """One arm.

    Attributes:
        lag_s: time constant with which joints follow.
        frozen: the network is gone: the state does not change any more.
    """

    def __init__(self) -> None:
        self.q = np.array(HOME_Q)
        self.dq = np.zeros(7)
        self.lag_s = 0.03
        self.frozen = False
        self.mode, self.errors, self.success, self.load_kg = "idle", [], 1.0, 0.0
        self.time = 0.0
        self.targets: FakeTargets | None = None
        self.sent: list[np.ndarray] = []
        self.calls: list[str] = []
        self.state = self._state()

    def step(self, dt: float) -> None:
        """Move, and report."""
        loop = self.targets
        goal = loop.target if loop is not None and loop.running else self.q
        limit = np.array(DQ_LIMIT)
        share = 1.0 - np.exp(-dt / self.lag_s)
        self.dq = np.clip(share * (goal - self.q) / dt, -limit, limit)
        self.q = self.q + dt * self.dq
        self.time += dt
        if not self.frozen:
            self.state = self._state()

    def reflex(self) -> None:
        """Touch something: the loop ends, and the arm stays where it is."""
        assert self.targets is not None
        self.targets.running = False
        self.mode, self.errors = "reflex", ["cartesian_reflex"]

    def _state(self) -> Any:
        return SimpleNamespace(
            q=self.q.copy(),
            dq=self.dq.copy(),
            time=self.time,
            robot_mode=self.mode,
            current_errors=[],
            last_motion_errors=list(self.errors),
            control_command_success_rate=self.success,
            m_load=self.load_kg,
            O_T_EE=forward_kinematics(self.q),
        )

    def read_once(self) -> Any:
        return self.state

    def set_collision_behavior_simple(self, *thresholds: Any) -> None:
        self.calls.append("collision")

    def joint_targets(self, **options: Any) -> FakeTargets:
        self.calls.append("targets")
        if self.mode != "idle":
            raise Reflex(f"the robot is in {self.mode}")
        self.targets = FakeTargets(self)
        return self.targets

    def automatic_error_recovery(self) -> None:
        self.calls.append("recovery")
        self.mode, self.errors = "idle", []


class FrankaRig:
    """The driver over the fake, under a virtual clock."""

    joints = 7

    def __init__(self) -> None:
        from dvla.runtime.ik import DifferentialIk
        from dvla.runtime.robots.fci.driver import FrankaDriver
        from dvla.runtime.robots.fci.gripper import GripperThread
        from dvla.runtime.robots.franka_geometry import FRANKA_JOINTS

        self.robot, self.hand = FakeRobot(), FakeHand()
        self.gripper = GripperThread(self.hand, start=False)
        self.now_ns = 1_000_000_000
        self.driver = FrankaDriver(
            self.robot, DifferentialIk(0.004, FRANKA_JOINTS), self.gripper, work=lambda work: work()
        )

    def wait(self) -> int:
        self.now_ns += 4_000_000
        self.robot.step(0.004)
        self.gripper.step()
        return self.now_ns

    def take_over(self) -> FrankaRig:
        self.driver.read(self.wait())
        self.driver.engage(self.wait())
        self.driver.read(self.wait())
        assert self.driver.phase == "engaged"
        return self

    def true_q(self) -> np.ndarray:
        return self.robot.q.copy()

    def close(self) -> None:
        self.driver.close()
