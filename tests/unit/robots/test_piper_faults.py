"""What goes wrong with an engaged PiPER: an emulated arm that misbehaves."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from piper_emulator import PARKED, READY, STANDBY, TEACHING

from dvla.runtime.errors import RobotFault

pytest.importorskip("can", reason="python-can is not installed")
pytest.importorskip("mujoco")
from piper_rig import MS, PERIOD_MS, MakeRig


def test_the_joint_limit_fault_is_reported_and_a_new_engagement_resolves_it(
    make_rig: MakeRig,
) -> None:
    rig = make_rig().take_over()
    rig.read()
    rig.arm.joint_target = np.array([0, 0, 0, 0, 2.0, 0.0])  # what a second commander might send
    rig.arm.state = 4
    reading = rig.read(3)
    assert reading.fault == "a target angle exceeds the joint's limit (0x04): joint 5"
    before = rig.arm.q.copy()
    assert rig.read(50).fault == reading.fault
    assert np.abs(rig.arm.q - before).max() < 1e-4
    assert rig.arm.state == 0
    rig.driver.engage(rig.wait())
    assert rig.read(60).fault == ""
    assert rig.driver.phase == "engaged"


@pytest.mark.parametrize("control", [STANDBY, TEACHING])
def test_an_arm_taken_away_is_not_taken_back(make_rig: MakeRig, control: int) -> None:
    rig = make_rig().take_over()
    rig.read(3)
    rig.arm.received.clear()
    rig.arm.control = control
    fault = rig.read(3).fault
    assert "not in CAN control by MOVE J" in fault
    assert rig.read(300).fault == fault
    rig.driver.command(rig.read().setpoint, rig.now_ns)
    rig.wait()
    assert 0x151 not in rig.sent() and 0x471 not in rig.sent()


def test_a_motor_that_drops_out_is_a_fault(make_rig: MakeRig) -> None:
    rig = make_rig(q=PARKED).take_over()
    rig.arm.enabled[3] = False
    assert rig.read(20).fault == "disabled: joint 4"


def test_missing_feedback_ages_the_reading_before_it_is_a_fault(make_rig: MakeRig) -> None:
    rig = make_rig().take_over()
    rig.arm.wrong.silent = {0x2A6}
    last = rig.read(5).t_ns
    reading = rig.read(20)
    assert reading.t_ns == last and reading.fault == ""
    assert rig.now_ns - reading.t_ns > 50 * MS
    assert "no feedback of the joints for 0.3 s" in rig.read(80).fault


def test_frames_that_queued_while_the_host_paused_are_not_of_now(make_rig: MakeRig) -> None:
    rig = make_rig().hear()
    last_ns = rig.now_ns
    rig.read()
    rig.arm.q = rig.arm.q + 0.2
    for pause_ms in (40, 1000):
        for _ in range(pause_ms // PERIOD_MS):
            rig.wait()
        reading = rig.driver.read(rig.now_ns)
        assert last_ns <= reading.t_ns <= rig.now_ns - pause_ms * MS
        reading = rig.read(10)
        assert rig.now_ns - reading.t_ns <= 8 * MS
        last_ns = rig.now_ns
    assert np.abs(reading.q - rig.arm.q).max() < 1e-4


def test_what_the_bus_held_before_the_first_read_has_no_age(make_rig: MakeRig) -> None:
    rig = make_rig()
    for _ in range(10):
        rig.wait()
    with pytest.raises(RobotFault, match="sent no joint positions"):
        rig.driver.read(rig.now_ns)
    rig.wait()
    assert rig.read().t_ns == rig.now_ns


def test_a_silent_arm_keeps_its_last_target(make_rig: MakeRig) -> None:
    rig = make_rig().take_over()
    rig.read(5)
    rig.arm.wrong.mute = True
    rig.arm.received.clear()
    assert "no feedback" in rig.read(200).fault
    assert rig.sent() == []


def test_a_value_that_is_not_finite_never_reaches_the_bus(make_rig: MakeRig) -> None:
    for index, value in ((0, np.nan), (4, np.inf), (7, -np.inf)):
        rig = make_rig().take_over()
        setpoint = rig.read(10).setpoint
        setpoint[index] = value
        rig.arm.received.clear()
        rig.driver.command(setpoint, rig.now_ns)
        reading = rig.read(40)
        assert reading.fault == "the setpoint is not finite"
        targets = [struct.unpack(">ii", d) for i, d in rig.arm.received if 0x155 <= i <= 0x157]
        assert targets, "the arm is told to stay where it is"
        assert np.abs(rig.arm.q - READY).max() < 1e-3
