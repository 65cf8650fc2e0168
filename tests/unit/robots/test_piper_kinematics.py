"""The PiPER's kinematics: the published table, our model of it, frames, limits and IK."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from piper_emulator import published_link6

from dvla.engines.errors import DvlaError
from dvla.runtime.errors import ConfigError
from dvla.runtime.limit_bounds import check_limits
from dvla.runtime.pose import euler_from_quaternion
from dvla.runtime.robots import ROBOTS, robot_with_twin
from dvla.runtime.robots.piper import kinematics
from dvla.runtime.robots.piper.kinematics import DQ_LIMIT, Q_LOWER, Q_UPPER
from dvla.runtime.robots.piper.limits import PIPER_LIMITS
from dvla.runtime.rotation import rotation_between
from dvla.runtime.run_check import check
from dvla.runtime.run_config import RunConfig

JOINTS = st.tuples(*[st.floats(low, high) for low, high in zip(Q_LOWER, Q_UPPER, strict=True)])


@given(JOINTS)
def test_link6_is_where_the_published_table_puts_it(q: tuple[float, ...]) -> None:
    ours = kinematics.link_poses(np.array(q))[5]
    assert np.abs(ours - published_link6(np.array(q))).max() < 1e-12


def test_the_arm_at_zero_is_where_the_maker_says() -> None:
    # The maker's manual: x 56.128 mm, z 213.266 mm, pitch 85 degrees; 55.0, 203.4 before.
    link6 = kinematics.link_poses(np.zeros(6))[5]
    assert link6[:3, 3] == pytest.approx([0.056128, 0.0, 0.213266], abs=1e-6)
    euler = euler_from_quaternion(kinematics.quaternion_from_matrix(link6[:3, :3]))
    assert np.degrees(euler) == pytest.approx([0.0, 85.0, 0.0], abs=1e-6)
    old = kinematics.link_poses(np.zeros(6), kinematics.DH_TABLE_OLD)[5]
    assert old[:3, 3] == pytest.approx([0.054953, 0.0, 0.203387], abs=1e-6)


def test_the_reach_is_the_makers() -> None:
    best = 0.0
    for q3 in np.linspace(-math.pi, math.pi, 2001):
        links = kinematics.link_poses(np.array([0.0, 1.0, q3, 0.0, 0.0, 0.0]))
        best = max(best, float(np.linalg.norm(links[5, :3, 3] - links[1, :3, 3])))
    assert best == pytest.approx(kinematics.REACH_M, abs=0.002)


def test_the_tcp_is_half_a_turn_and_133_mm_from_link6() -> None:
    q = np.array([0.3, 1.3, -0.9, 0.2, 0.8, -0.4])
    link6 = published_link6(q)
    tcp, _ = kinematics.tcp_and_twist(q, np.zeros(6))
    assert tcp[:3, 3] == pytest.approx(link6[:3, 3] + 0.1334 * link6[:3, 2], abs=1e-12)
    assert tcp[:3, 0] == pytest.approx(-link6[:3, 0], abs=1e-12)
    assert tcp[:3, 2] == pytest.approx(link6[:3, 2], abs=1e-12)


@given(JOINTS, st.tuples(*[st.floats(-1.0, 1.0)] * 6))
def test_the_twist_is_the_derivative_of_the_pose(
    q: tuple[float, ...], dq: tuple[float, ...]
) -> None:
    h = 1e-6
    position, speed = np.array(q), np.array(dq)
    _, twist = kinematics.tcp_and_twist(position, speed)
    before, _ = kinematics.tcp_and_twist(position - h * speed, speed)
    after, _ = kinematics.tcp_and_twist(position + h * speed, speed)
    linear = (after[:3, 3] - before[:3, 3]) / (2 * h)
    turn = rotation_between(
        kinematics.quaternion_from_matrix(before[:3, :3]),
        kinematics.quaternion_from_matrix(after[:3, :3]),
    ) / (2 * h)
    assert np.abs(twist - np.concatenate([linear, turn])).max() < 1e-6


@given(st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4))
def test_quaternions_of_matrices(values: list[float]) -> None:
    quaternion = np.array(values)
    if np.linalg.norm(quaternion) < 1e-3:
        return
    quaternion /= np.linalg.norm(quaternion)
    w, x, y, z = quaternion
    matrix = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    back = kinematics.quaternion_from_matrix(matrix)
    assert back[0] >= 0.0
    assert abs(abs(back @ quaternion) - 1.0) < 1e-12


def test_frames_that_agree_are_ok_and_others_say_what_is_off() -> None:
    q = np.array([0.1, 1.4, -0.95, 0.05, 1.1, -0.1])
    pose = kinematics.link_poses(q)[5]
    euler = euler_from_quaternion(kinematics.quaternion_from_matrix(pose[:3, :3]))
    reported = np.concatenate([pose[:3, 3], euler])
    assert kinematics.check_frames(q, reported).ok
    shifted = reported + np.array([0.0, 0.002, 0, 0, 0, 0])
    check = kinematics.check_frames(q, shifted)
    assert not check.ok and check.position_m == pytest.approx(0.002, abs=1e-9)
    turned = reported + np.array([0, 0, 0, 0, 0, math.radians(2.0)])
    check = kinematics.check_frames(q, turned)
    assert not check.ok and check.rotation_rad == pytest.approx(math.radians(2.0), abs=1e-6)
    assert "2.00 deg" in check.text and "older table" not in check.text


def test_the_limits_are_inside_their_bounds_and_the_workspace_within_reach() -> None:
    check_limits(PIPER_LIMITS)
    shoulder = np.array([0.0, 0.0, 0.123])
    box = zip(PIPER_LIMITS.workspace.lower, PIPER_LIMITS.workspace.upper, strict=True)
    for corner in itertools.product(*box):
        distance = np.linalg.norm(np.array(corner) - shoulder)
        assert distance < kinematics.REACH_M + kinematics.TCP_OFFSET_M


def test_the_registry_says_what_can_be_done() -> None:
    piper = ROBOTS["piper"]
    assert piper.limits is PIPER_LIMITS and piper.driver and piper.twin
    assert robot_with_twin("piper").twin_limits is PIPER_LIMITS
    with pytest.raises(ConfigError, match=r"no digital twin.*franka, piper"):
        robot_with_twin("replay")
    with pytest.raises(ConfigError, match=r"unknown robot.*franka, piper"):
        robot_with_twin("pepper")


def test_a_run_without_a_twin_that_does_not_say_where_the_arm_is_is_refused() -> None:
    for robot in ("franka", "piper"):
        with pytest.raises(DvlaError, match=f"nothing says where the real {robot} is"):
            check(RunConfig(robot=robot, policy="oracle"))
    for robot in ("franka", "piper"):
        assert check(RunConfig(robot=robot, policy="oracle", sim=True)).name == robot
    with pytest.raises(DvlaError, match=r"--arm-model .* the piper's has only its own"):
        check(RunConfig(robot="piper", policy="oracle", sim=True, arm_model=Path("arm.xml")))


# -- the model and its inverse -----------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(JOINTS)
def test_the_model_is_the_table(q: tuple[float, ...]) -> None:
    mujoco = pytest.importorskip("mujoco")
    from dvla.runtime.twin.piper_twin import PIPER_TCP_SITE, piper_twin_spec

    model = piper_twin_spec().compile()
    data = mujoco.MjData(model)
    data.qpos[:6] = q
    mujoco.mj_kinematics(model, data)
    tcp, _ = kinematics.tcp_and_twist(np.array(q), np.zeros(6))
    site = data.site(PIPER_TCP_SITE)
    assert np.abs(site.xpos - tcp[:3, 3]).max() < 1e-9
    assert np.abs(site.xmat.reshape(3, 3) - tcp[:3, :3]).max() < 1e-9


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.floats(-0.3, 0.3)] * 6))
def test_ik_follows_a_way_within_ranges_and_speeds(offset: tuple[float, ...]) -> None:
    from dvla.runtime.ik import DifferentialIk
    from dvla.runtime.robots.piper.body import PIPER_HOME_Q
    from dvla.runtime.robots.piper.joints import PIPER_JOINTS

    period_s = 0.004
    ik = DifferentialIk(period_s, PIPER_JOINTS)
    start = np.array(PIPER_HOME_Q)
    end = np.clip(start + np.array(offset), np.array(Q_LOWER) + 0.02, np.array(Q_UPPER) - 0.02)
    ik.reset(start)
    before = start
    for share in np.linspace(0.0, 1.0, 300):
        tcp, _ = kinematics.tcp_and_twist(start + share * (end - start), np.zeros(6))
        quaternion = kinematics.quaternion_from_matrix(tcp[:3, :3])
        q, error_m = ik.step(np.concatenate([tcp[:3, 3], quaternion, [0.0]]))
        assert (q >= np.array(Q_LOWER)).all() and (q <= np.array(Q_UPPER)).all()
        assert (np.abs(q - before) <= np.array(DQ_LIMIT) * period_s * (1 + 1e-6)).all()
        before = q
    assert error_m < 1e-3
