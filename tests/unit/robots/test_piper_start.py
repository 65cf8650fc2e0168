"""The start-up of a PiPER against an emulated arm that also misbehaves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from piper_emulator import CAN, MOVE_J, PARKED, READY, STANDBY

from dvla.runtime.errors import RobotFault

pytest.importorskip("can", reason="python-can is not installed")
pytest.importorskip("mujoco")
from piper_rig import MakeRig


def test_listening_sends_nothing_and_says_so(make_rig: MakeRig) -> None:
    rig = make_rig().hear()
    reading = rig.read(50)
    rig.driver.command(reading.setpoint, rig.now_ns)
    rig.wait()
    assert rig.arm.received == []
    assert reading.fault == ""
    assert reading.standby == "not engaged: the arm is in standby"


@pytest.mark.parametrize("control", [STANDBY, CAN])
def test_a_stale_target_moves_nothing(make_rig: MakeRig, control: int) -> None:
    rig = make_rig(control=STANDBY)
    if control == CAN:
        # An earlier process left the arm under CAN control, at rest at its own target.
        rig.arm.control, rig.arm.move = CAN, MOVE_J
        rig.arm.joint_target = READY.copy()
    else:
        assert np.abs(rig.arm.joint_target - READY).max() > 1.0
    rig.take_over()
    rig.read(100)
    assert rig.arm.control == CAN and rig.arm.move == MOVE_J
    assert np.abs(rig.arm.q - READY).max() < 1e-4


def test_the_target_is_written_before_the_motors_and_the_motors_before_the_mode(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(q=PARKED, powered=False).take_over()
    sent = rig.sent()
    assert sent.index(0x157) < sent.index(0x471) < sent.index(0x151)
    assert not rig.arm.fell
    assert np.abs(rig.arm.q).max() < 1e-4


def test_lost_frames_do_not_let_the_stale_target_through(make_rig: MakeRig) -> None:
    for seed in range(5):
        rig = make_rig(seed=seed)
        rig.arm.wrong.drop_share = 0.3
        rig.take_over()
        rig.read(50)
        assert np.abs(rig.arm.q - READY).max() < 1e-4


def test_a_parked_arm_that_reports_a_joint_just_outside_its_range_is_taken_over(
    make_rig: MakeRig,
) -> None:
    q = np.array([0.0, -0.004, 0.003, 0.0, 0.0, 0.0])
    rig = make_rig(q=q).take_over()
    rig.read(20)
    assert rig.arm.state == 0
    assert np.abs(rig.arm.q - q).max() < 0.005


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda arm: setattr(arm, "q", np.array([0, 3.3, -1, 0, 0, 0.0])), "joint 2 is 9.2 deg"),
        (lambda arm: setattr(arm, "state", 7), "collision"),
        (lambda arm: arm.motor_errors.__setitem__(2, 1 << 4), "motor 3: collision protection"),
        (lambda arm: arm.wrong.silent.update(range(0x251, 0x257)), "no feedback of the speeds"),
        (lambda arm: setattr(arm, "gripper_errors", 1 << 5), "gripper: driver error"),
    ],
)
def test_an_unfit_arm_is_not_engaged_and_nothing_is_sent(
    make_rig: MakeRig, spoil: Callable[[object], None], words: str
) -> None:
    rig = make_rig()
    spoil(rig.arm)
    for _ in range(20):
        with suppress(RobotFault):
            rig.read()
    with pytest.raises(RobotFault, match=words):
        rig.driver.engage(rig.now_ns)
    rig.wait()
    assert rig.arm.received == []


def test_a_moving_arm_is_not_engaged(make_rig: MakeRig) -> None:
    rig = make_rig().hear()
    rig.arm.control, rig.arm.move, rig.arm.speed_percent = CAN, MOVE_J, 50
    rig.read(5)
    with pytest.raises(RobotFault, match="the arm moves at"):
        rig.driver.engage(rig.now_ns)


def test_an_arm_that_stays_in_standby_ends_in_a_fault_that_says_so(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.arm.wrong.deaf_to_mode = True
    with pytest.raises(RobotFault, match="the arm is in standby"):
        rig.take_over()
    assert rig.driver.phase == "faulted"
    assert np.abs(rig.arm.q - READY).max() < 1e-9


def test_a_motor_that_stays_disabled_ends_in_a_fault_that_names_it(make_rig: MakeRig) -> None:
    rig = make_rig(q=PARKED, powered=False)
    rig.arm.wrong.deaf_motors = {4}
    with pytest.raises(RobotFault, match="joint 5"):
        rig.take_over()
    assert 0x151 not in rig.sent()


def test_an_arm_that_never_reports(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.arm.wrong.mute = True
    with pytest.raises(RobotFault, match="sent no joint positions"):
        rig.hear()


def test_an_arm_that_is_a_leader_says_so(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.arm.wrong.as_leader = True
    with pytest.raises(RobotFault, match="configured as a leader"):
        rig.hear()
