"""How an engaged PiPER moves, holds and is let go: an emulated arm."""

from __future__ import annotations

import numpy as np
import pytest
from piper_emulator import CAN, READY, STALE_TARGET

from dvla.runtime.errors import RobotFault
from dvla.runtime.rotation import rotate, rotation_between

pytest.importorskip("can", reason="python-can is not installed")
pytest.importorskip("mujoco")
from piper_rig import PERIOD_MS, MakeRig


def test_a_fault_in_motion_holds_where_the_arm_is(make_rig: MakeRig) -> None:
    rig = make_rig().take_over()
    rig.arm.wrong.lag_s = 0.2
    setpoint = rig.read(5).setpoint
    for _ in range(25):
        setpoint[1] += 0.002
        rig.follow(setpoint, PERIOD_MS * 1e-3)
    rig.arm.motor_errors[0] = 1 << 1
    rig.read(10)
    assert rig.driver.phase == "faulted"
    held = rig.arm.joint_target.copy()
    rig.read(200)
    assert np.array_equal(held, rig.arm.joint_target)
    assert np.abs(rig.arm.q - held).max() < 1e-3


def test_closing_at_rest_keeps_the_target_and_the_motors(make_rig: MakeRig) -> None:
    rig = make_rig().take_over()
    setpoint = rig.read(5).setpoint
    setpoint[2] += 0.02
    rig.follow(setpoint, 1.0)
    target = rig.arm.joint_target.copy()
    rig.driver.close()
    for _ in range(50):
        rig.wait()
    assert np.abs(rig.arm.joint_target - target).max() < 1e-9
    assert all(rig.arm.enabled) and rig.arm.control == CAN and not rig.arm.fell


def test_a_closed_driver_stays_closed(make_rig: MakeRig) -> None:
    rig = make_rig().take_over()
    rig.driver.close()
    with pytest.raises(RobotFault, match="the CAN bus is gone"):
        rig.read()
    rig.driver.command(np.full(8, np.nan), rig.now_ns)
    with pytest.raises(RobotFault, match="the driver is closed"):
        rig.driver.engage(rig.now_ns)
    assert rig.driver.phase == "closed"


def test_closing_in_motion_stops_the_arm_where_it_is(make_rig: MakeRig) -> None:
    rig = make_rig().take_over()
    rig.arm.wrong.lag_s = 0.3
    setpoint = rig.read(5).setpoint
    for _ in range(50):
        setpoint[1] += 0.002
        rig.follow(setpoint, PERIOD_MS * 1e-3)
    ahead = np.abs(rig.arm.joint_target - rig.arm.q).max()
    there = rig.arm.q.copy()
    rig.driver.close()
    for _ in range(100):
        rig.wait()
    assert ahead > 0.05
    assert np.abs(rig.arm.q - there).max() < 0.02


def test_where_the_wrist_ends_attitude_gives_way_before_position(make_rig: MakeRig) -> None:
    rig = make_rig().take_over()
    setpoint = rig.read(5).setpoint
    for _ in range(250):
        setpoint[:3] += (0.0004, 0.0, 0.0003)
        reading = rig.follow(setpoint, PERIOD_MS * 1e-3)
    reading = rig.follow(setpoint, 0.3)
    turn = rotation_between(setpoint[3:7], reading.setpoint[3:7])
    assert reading.fault == ""
    assert 0.05 < np.linalg.norm(turn) < 0.6, "the way leads to where joint 5 ends"
    assert np.linalg.norm(reading.setpoint[:3] - setpoint[:3]) < 5e-3
    setpoint[3:7] = rotate(np.array([0.0, -1.0, 0.0]), setpoint[3:7])
    assert "deg away" in rig.follow(setpoint, 1.0).fault


def test_a_stuck_gripper_blocks_nothing_and_is_seen(make_rig: MakeRig) -> None:
    rig = make_rig().take_over()
    rig.arm.wrong.gripper_stuck_m = 0.02
    setpoint = rig.read(5).setpoint
    start = setpoint[0]
    setpoint[0] += 0.02
    setpoint[7] = -1.0
    reading = rig.follow(setpoint, 1.0)
    assert reading.fault == ""
    assert reading.setpoint[0] == pytest.approx(start + 0.02, abs=1e-3)
    assert reading.setpoint[7] == pytest.approx(2 * 0.02 / 0.07 - 1, abs=0.01)


def test_a_decision_is_said_again_and_again_and_an_opening_as_found_never(
    make_rig: MakeRig,
) -> None:
    rig = make_rig().take_over()
    setpoint = rig.read(5).setpoint
    for opening in (0.1, 0.999, -0.999):
        setpoint[7] = opening
        rig.follow(setpoint, 0.2)
    assert 0x159 not in rig.sent()
    strokes = []
    for opening in (1.0, -1.0, 0.3):
        setpoint[7] = opening
        rig.follow(setpoint, 0.2)
        strokes.append(round(rig.arm.gripper_target_m, 6))
    assert strokes == [0.07, 0.0, 0.0]
    assert 8 <= rig.sent().count(0x159) <= 12


def test_a_host_that_slept_calls_nobody_silent_and_a_mute_arm_is_found_all_the_same(
    make_rig: MakeRig,
) -> None:
    rig = make_rig().take_over()
    for _ in range(200):
        rig.wait()
    assert rig.read().fault == "" and rig.driver.phase == "engaged"
    for _ in range(200):
        rig.wait()
    rig.arm.wrong.mute = True
    assert rig.read(50).fault == ""
    assert "no feedback of the joints for 1." in rig.read(40).fault


def test_dropped_frames_cost_accuracy_only_for_a_moment(make_rig: MakeRig) -> None:
    rig = make_rig().take_over()
    rig.arm.wrong.drop_share = 0.2
    setpoint = rig.read(5).setpoint
    for _ in range(100):
        setpoint[1] += 0.0005
        reading = rig.follow(setpoint, PERIOD_MS * 1e-3)
    reading = rig.follow(setpoint, 0.3)
    assert reading.fault == ""
    assert np.linalg.norm(reading.setpoint[:3] - setpoint[:3]) < 1e-3


def test_the_frames_are_checked_against_what_the_arm_reports(make_rig: MakeRig) -> None:
    assert make_rig().hear().driver.check_frames().ok
    old = make_rig(moved_zeros=False).hear().driver.check_frames()
    assert not old.ok and old.position_m > 0.005
    assert "older table" in old.text


def test_the_stale_target_is_far_enough_to_be_seen() -> None:
    assert np.abs(STALE_TARGET - READY).max() > 0.5
