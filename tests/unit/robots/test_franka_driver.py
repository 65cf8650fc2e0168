"""The Franka's driver over a fake of its library that misbehaves."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco")
from arm_doubles import EventList
from fake_franka import FrankaRig

from dvla.runtime.arm_host import arm_settings
from dvla.runtime.errors import RobotFault
from dvla.runtime.events import Note
from dvla.runtime.phase import Phase
from dvla.runtime.processes import real_arm
from dvla.runtime.robots.fci.kinematics import tcp_and_twist
from dvla.runtime.robots.fci.start import check_flange
from dvla.runtime.robots.hardware import Hardware
from dvla.runtime.twin.arm_model import HAND_TCP_M, HOME_Q, forward_kinematics


@pytest.fixture
def rig() -> FrankaRig:
    return FrankaRig().take_over()


def test_before_it_is_engaged_nothing_is_sent() -> None:
    rig = FrankaRig()
    reading = rig.driver.read(rig.wait())
    assert reading.fault == "" and "not engaged" in reading.standby
    rig.driver.command(reading.setpoint, rig.wait())
    assert rig.robot.sent == [] and rig.robot.calls == []


def test_thresholds_are_set_before_the_loop_starts(rig: FrankaRig) -> None:
    assert rig.robot.calls == ["collision", "targets"]
    assert rig.driver.read(rig.wait()).standby == ""


def test_a_reflex_is_a_fault_and_ends_on_request_alone(rig: FrankaRig) -> None:
    rig.robot.reflex()
    reading = rig.driver.read(rig.wait())
    assert "cartesian_reflex" in reading.fault
    sent = len(rig.robot.sent)
    for _ in range(50):
        rig.driver.command(reading.setpoint, rig.wait())
        assert rig.driver.read(rig.wait()).fault == reading.fault
    assert len(rig.robot.sent) == sent and "recovery" not in rig.robot.calls
    with pytest.raises(RobotFault, match="dvla-arm resume"):
        rig.driver.engage(rig.wait())
    q = rig.true_q()
    rig.driver.recover(rig.wait())
    reading = rig.driver.read(rig.wait())
    assert rig.driver.phase == "engaged" and reading.fault == ""
    assert rig.robot.calls[-3:] == ["recovery", "collision", "targets"]
    assert np.array_equal(rig.true_q(), q), "recovery moved the arm"


def test_commands_that_do_not_arrive_in_time_are_a_fault(rig: FrankaRig) -> None:
    rig.robot.success = 0.3
    assert "70 % of the commands" in rig.driver.read(rig.wait()).fault
    assert np.allclose(rig.robot.sent[-1], rig.true_q())


def test_a_frozen_state_gets_old(rig: FrankaRig) -> None:
    rig.driver.read(rig.wait())
    rig.robot.frozen = True
    before = rig.driver.read(rig.wait()).t_ns
    assert [rig.driver.read(rig.wait()).t_ns for _ in range(30)] == [before] * 30


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda robot: setattr(robot, "mode", "user_stopped"), "user_stopped"),
        (lambda robot: setattr(robot, "load_kg", 1.2), "1.20 kg"),
        (lambda robot: setattr(robot, "q", robot.q + 0.5), "moves"),
    ],
)
def test_an_arm_that_is_not_fit_is_not_engaged(spoil, words: str) -> None:  # type: ignore[no-untyped-def]
    rig = FrankaRig()
    spoil(rig.robot)
    if words == "moves":
        rig.robot.dq = np.full(7, 0.2)
        rig.robot.state = rig.robot._state()
    else:
        rig.wait()
        rig.now_ns += 30_000_000
        rig.driver.read(rig.now_ns)
        rig.driver.read(rig.now_ns)
    rig.driver._state = rig.robot.state
    with pytest.raises(RobotFault, match=words):
        rig.driver.engage(rig.now_ns)
    assert rig.robot.calls == []


def test_a_start_that_fails_is_a_fault_in_words() -> None:
    rig = FrankaRig()
    rig.driver.read(rig.wait())
    rig.robot.mode = "guiding"
    rig.driver.engage(rig.wait())
    assert "guiding" in rig.driver.read(rig.wait()).fault


def test_a_decision_is_made_once_and_an_opening_as_found_is_none(rig: FrankaRig) -> None:
    setpoint = rig.driver.read(rig.wait()).setpoint
    for openings, calls in (
        ((0.999, 0.4, -0.3), []),
        ((1.0, 1.0, 1.0), ["move"]),
        ((-1.0, -1.0, -0.2), ["move", "grasp"]),
    ):
        for opening in openings:
            setpoint[7] = opening
            rig.driver.command(setpoint, rig.wait())
        rig.wait()
        assert rig.hand.calls == calls
    assert rig.driver.read(rig.wait()).setpoint[7] == -1.0


def test_a_grasp_without_success_is_said_and_no_fault(rig: FrankaRig) -> None:
    rig.hand.holds = False
    setpoint = rig.driver.read(rig.wait()).setpoint
    setpoint[7] = -1.0
    for _ in range(10):
        rig.driver.command(setpoint, rig.wait())
    assert rig.driver.notice == "the hand: closing did not succeed; it is tried again"
    assert rig.driver.read(rig.wait()).fault == ""


class Wire:
    """What the process gives a real arm: a clock, a sink of events, and a ring for its journal."""

    def __init__(self) -> None:
        self.now_ns, self.said = 1_000_000_000, EventList()

    def wait(self) -> int:
        self.now_ns += 4_000_000
        return self.now_ns

    def publish(self, *_: object) -> None:
        """Take a row of the journal."""


def test_what_the_hand_says_is_told_once_each_time(
    rig: FrankaRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire()
    monkeypatch.setattr(real_arm, "open_arm", lambda *_: rig.driver)
    settings = arm_settings("franka", "franka", hardware=Hardware(host="172.16.0.2"))
    arm = real_arm.RealArm(settings, wire.said, wire, 0.004, wire)  # type: ignore[arg-type]

    def told() -> list[str]:
        for _ in range(20):
            arm.tick(wire.wait(), Phase.WAIT)
        return [event.text for event in wire.said.events if isinstance(event, Note)]

    assert told() == []
    for problem, count in (("no success", 1), ("", 1), ("connection lost", 2)):
        rig.gripper.problem = problem
        assert len(told()) == count
    rig.driver._gripper = None
    assert told()[-1].startswith("no hand answers")


def test_the_twist_is_the_derivative_of_the_pose() -> None:
    rng = np.random.default_rng(3)
    q, dq, dt = np.array(HOME_Q), rng.normal(size=7) * 0.3, 1e-6
    _, twist = tcp_and_twist(q, dq)
    ahead, behind = forward_kinematics(q + dt * dq), forward_kinematics(q - dt * dq)
    assert np.allclose(twist[:3], (ahead - behind)[:3, 3] / (2 * dt), atol=1e-6)
    turn = (ahead - behind)[:3, :3] / (2 * dt) @ forward_kinematics(q)[:3, :3].T
    assert np.allclose(twist[3:], [turn[2, 1], turn[0, 2], turn[1, 0]], atol=1e-6)


def test_another_arm_is_noticed() -> None:
    q = np.array(HOME_Q)
    flange = forward_kinematics(q)
    flange[:3, 3] -= HAND_TCP_M * flange[:3, 2]
    check_flange(q, flange)
    with pytest.raises(RobotFault, match="flange"):
        check_flange(q + 0.1, flange)
