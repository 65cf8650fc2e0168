"""The codec: golden frames, round trips, units, and what it refuses to say."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvla.runtime.robots.piper import protocol, words
from dvla.runtime.robots.piper.feedback import NEVER_NS, Feedback
from dvla.runtime.robots.piper.protocol import Frame

MILLIDEGREE = math.pi / 180_000
ANGLES = st.lists(st.floats(-math.pi, math.pi), min_size=6, max_size=6)
EIGHT = st.binary(min_size=8, max_size=8)


def test_joint_targets_are_thousandths_of_a_degree_big_endian() -> None:
    q = np.radians([150.0, -0.001, 90.0, -90.0, 1.2346, 0.0])
    first, second, third = protocol.joint_target_frames(q)
    assert first == (0x155, bytes.fromhex("000249f0ffffffff"))
    assert second == (0x156, bytes.fromhex("00015f90fffea070"))
    assert third == (0x157, struct.pack(">ii", 1235, 0))


def test_the_mode_is_can_control_by_move_j() -> None:
    assert protocol.mode_frame(100) == (0x151, bytes.fromhex("0101640000000000"))
    for speed in (0, 101, -1):
        with pytest.raises(ValueError, match="1 to 100"):
            protocol.mode_frame(speed)


def test_the_gripper_is_thousandths_of_a_millimetre_and_of_a_newton_metre() -> None:
    assert protocol.gripper_frame(0.07, 1.0) == (0x159, bytes.fromhex("0001117003e80100"))
    for stroke, effort in ((-0.001, 1.0), (0.071, 1.0), (0.03, 5.1), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="no gripper target"):
            protocol.gripper_frame(stroke, effort)


def test_joints_are_enabled_one_by_one_and_nothing_disables() -> None:
    frames = protocol.enable_frames()
    assert [data[:2] for _, data in frames] == [bytes([motor, 2]) for motor in range(1, 7)]
    assert {id_ for id_, _ in frames} == {0x471}


@given(ANGLES)
def test_angles_survive_to_half_a_thousandth_of_a_degree(angles: list[float]) -> None:
    q = np.array(angles)
    back = [
        a for frame in protocol.joint_target_frames(q) for a in protocol.decode_angles(frame[1])
    ]
    assert np.abs(back - q).max() <= 0.5 * MILLIDEGREE * (1 + 1e-9)
    again = [
        a
        for frame in protocol.joint_target_frames(np.array(back))
        for a in protocol.decode_angles(frame[1])
    ]
    assert again == back


@given(ANGLES, st.integers(0, 5), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_target_that_is_not_finite_has_no_frames(
    angles: list[float], index: int, bad: float
) -> None:
    angles[index] = bad
    with pytest.raises(ValueError, match="finite"):
        protocol.joint_target_frames(np.array(angles))


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=6, max_size=6))
def test_end_poses_are_read_in_their_units(units: list[int]) -> None:
    pose = [
        value
        for index in range(3)
        for value in protocol.decode_end_pose(
            index, struct.pack(">ii", *units[2 * index : 2 * index + 2])
        )
    ]
    assert pose[:3] == pytest.approx([u * 1e-6 for u in units[:3]])
    assert pose[3:] == pytest.approx([math.radians(u / 1000) for u in units[3:]])


@given(st.integers(-70_000, 70_000), st.integers(-5000, 5000), st.integers(0, 255))
def test_the_gripper_is_read_in_its_units(stroke: int, effort: int, flags: int) -> None:
    state = protocol.decode_gripper(struct.pack(">ihBB", stroke, effort, flags, 0))
    assert state.stroke_m == pytest.approx(stroke * 1e-6)
    assert state.effort_nm == pytest.approx(effort * 1e-3)
    assert state.flags == flags


@given(st.integers(-32768, 32767))
def test_speeds_are_thousandths_of_a_radian(speed: int) -> None:
    assert protocol.decode_speed(struct.pack(">hHi", speed, 7, -9)) == pytest.approx(speed / 1000)


def test_the_status_is_read_byte_by_byte() -> None:
    status = protocol.decode_status(bytes([1, 4, 1, 0, 1, 9, 0b010010, 0b000100]))
    assert (status.control, status.state, status.move) == (1, 4, 1)
    assert words.joint_words(status.beyond_limits) == "joint 2, joint 5"
    assert words.joint_words(status.unreachable) == "joint 3"
    assert protocol.decode_motor_flags(bytes([0, 240, 0, 35, 36, 0x50, 0, 0])) == 0x50
    assert words.flag_words(0x50, words.MOTOR_ERRORS) == "collision protection"


@given(st.lists(st.tuples(st.integers(0, 0x7FF), EIGHT), max_size=60))
def test_any_frame_on_the_bus_is_taken_without_a_word(frames: list[tuple[int, bytes]]) -> None:
    feedback = Feedback()
    for t_ns, (id_, data) in enumerate(frames):
        feedback.take(Frame(id_, data), t_ns)
    assert np.isfinite(feedback.q).all() and np.isfinite(feedback.dq).all()
    assert feedback.joints_ns <= len(frames)


def test_a_position_is_as_old_as_its_oldest_frame() -> None:
    feedback = Feedback()
    feedback.take(Frame(0x2A5, bytes(8)), 10)
    feedback.take(Frame(0x2A7, bytes(8)), 20)
    assert feedback.joints_ns == NEVER_NS
    feedback.take(Frame(0x2A6, bytes(8)), 30)
    feedback.take(Frame(0x2A7, bytes(8)), 40)
    assert feedback.joints_ns == 10


def test_every_code_has_words_and_unknown_ones_say_so() -> None:
    assert words.state_words(0) == ""
    for code in range(1, 256):
        assert f"0x{code:02X}" in words.state_words(code)
        assert words.control_words(code) and words.move_words(code)
    assert "unknown" in words.control_words(0x99)
