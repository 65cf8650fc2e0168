"""The driver of the PiPER against an emulated arm that also misbehaves."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest
from piper_emulator import CAN, MOVE_J, PARKED, READY, STALE_TARGET, STANDBY, TEACHING

from dvla.runtime.errors import RobotFault
from dvla.runtime.rotation import rotate, rotation_between

pytest.importorskip("can", reason="python-can is not installed")
pytest.importorskip("mujoco")
from piper_rig import MS, PERIOD_MS, PiperRig

MakeRig = Callable[..., PiperRig]


@pytest.fixture
def make_rig() -> Iterator[MakeRig]:
    """Make rigs, and check on the way out what must hold of every arm in this file."""
    rigs: list[PiperRig] = []

    def make(**options: object) -> PiperRig:
        rigs.append(PiperRig(**options))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()
        assert_harmless(rig)


def assert_harmless(rig: PiperRig) -> None:
    """No frame that disables, stops, leaves CAN control or moves a zero was ever sent."""
    for id_, data in rig.arm.received:
        assert id_ in (0x151, 0x155, 0x156, 0x157, 0x159, 0x471)
        if id_ == 0x471:
            assert 1 <= data[0] <= 6 and data[1] == 2
        if id_ == 0x151:
            assert data[:2] == bytes([CAN, MOVE_J]) and data[3:] == bytes(5)
        if id_ == 0x159:
            assert data[6:] == bytes([1, 0])
        if id_ in (0x155, 0x156, 0x157):
            assert max(abs(v) for v in struct.unpack(">ii", data)) <= 180_000


# -- start-up ----------------------------------------------------------------------------------


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


# -- faults while engaged ----------------------------------------------------------------------


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


# -- motion ------------------------------------------------------------------------------------


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
