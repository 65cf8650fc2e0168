"""The twin's arm against its published kinematics, and its inverse."""

import math
from pathlib import Path

import numpy as np
import pytest

from dvla.runtime.errors import ConfigError
from dvla.runtime.ik import DifferentialIk
from dvla.runtime.robots.franka_geometry import FRANKA_JOINTS
from dvla.runtime.twin import arm_model
from dvla.runtime.twin.driver import TwinDriver
from dvla.runtime.twin.mjcf import SERVO_LAG_S
from dvla.runtime.twin.world import TwinWorld, WorldConfig

mujoco = pytest.importorskip("mujoco")


def rotation_x(angle):
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])


def rotation_z(angle):
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def shift(x, z):
    pose = np.eye(4)
    pose[0, 3], pose[2, 3] = x, z
    return pose


def published_tcp(q):
    """The maker's table, written as elementary motions: Rx(alpha) Tx(a) Rz(theta) Tz(d)."""
    quarter = math.pi / 2
    rows = [
        (0, 0, 0.333),
        (0, -quarter, 0),
        (0, quarter, 0.316),
        (0.0825, quarter, 0),
        (-0.0825, -quarter, 0.384),
        (0, quarter, 0),
        (0.088, quarter, 0),
    ]
    pose = np.eye(4)
    for (a, alpha, d), theta in zip(rows, q, strict=True):
        pose = pose @ rotation_x(alpha) @ shift(a, 0) @ rotation_z(theta) @ shift(0, d)
    return pose @ shift(0, 0.107) @ rotation_z(-math.pi / 4) @ shift(0, 0.1034)


@pytest.fixture(scope="module")
def arm():
    model = arm_model.arm_spec().compile()
    return model, mujoco.MjData(model)


def test_the_model_and_the_table_agree_anywhere_within_the_limits(arm):
    model, data = arm
    rng = np.random.default_rng(7)
    for q in rng.uniform(arm_model.Q_LOWER, arm_model.Q_UPPER, size=(20, 7)):
        data.qpos[:7] = q
        mujoco.mj_kinematics(model, data)
        wanted = published_tcp(q)
        np.testing.assert_allclose(data.site("tcp").xpos, wanted[:3, 3], atol=1e-7)
        np.testing.assert_allclose(data.site("tcp").xmat.reshape(3, 3), wanted[:3, :3], atol=1e-7)
        np.testing.assert_allclose(arm_model.forward_kinematics(q), wanted, atol=1e-12)


def test_the_ready_pose_of_the_real_arm_is_where_its_makers_say():
    ready = [0, -math.pi / 4, 0, -3 * math.pi / 4, 0, math.pi / 2, math.pi / 4]
    np.testing.assert_allclose(published_tcp(ready)[:3, 3], [0.307, 0, 0.487], atol=1e-3)


def test_joint_limits_are_those_of_the_data_sheet(arm):
    model, _ = arm
    for name, low, high in zip(
        arm_model.ARM_JOINTS, arm_model.Q_LOWER, arm_model.Q_UPPER, strict=True
    ):
        np.testing.assert_allclose(model.joint(name).range, [low, high])


def test_home_points_the_fingers_down():
    pose = arm_model.forward_kinematics(np.array(arm_model.HOME_Q))
    np.testing.assert_allclose(pose[:3, 3], [0.40, 0, 0.28], atol=1e-3)
    np.testing.assert_allclose(pose[:3, 2], [0, 0, -1], atol=1e-3)


def test_inverse_kinematics_follows_a_path_within_a_millimetre():
    ik = DifferentialIk(0.004, FRANKA_JOINTS)
    down = [0.0, 1.0, 0.0, 0.0]
    start = arm_model.forward_kinematics(np.array(arm_model.HOME_Q))[:3, 3]
    goal = np.array([0.55, -0.30, 0.03])
    for s in np.linspace(0, 1, 250):
        share = 3.0 * s**2 - 2.0 * s**3  # from rest to rest
        _, left_m = ik.step(np.array([*(start + share * (goal - start)), *down, 1.0]))
        assert left_m < 1e-3
    reached = published_tcp(ik.q)
    np.testing.assert_allclose(reached[:3, 3], goal, atol=1e-3)
    np.testing.assert_allclose(reached[:3, 2], [0, 0, -1], atol=5e-3)


def test_inverse_kinematics_never_leaves_the_joint_limits():
    ik = DifferentialIk(0.004, FRANKA_JOINTS)
    far = np.array([2.0, 1.0, -1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    before = ik.q
    for _ in range(400):
        q, _ = ik.step(far)
        assert (np.abs(q - before) <= np.array(arm_model.DQ_LIMIT) * 0.004 + 1e-6).all()
        assert (q >= np.array(arm_model.Q_LOWER) - 1e-6).all()
        assert (q <= np.array(arm_model.Q_UPPER) + 1e-6).all()
        before = q


def follow(driver, world, velocity, seconds):
    """Command a straight motion; return how far the arm lags behind it [m]."""
    setpoint = world.measured()
    for _ in range(int(seconds * 250)):
        now_ns = world.t_ns + 4_000_000
        driver.read(now_ns)
        setpoint[1] += velocity * 0.004
        driver.command(setpoint, now_ns)
    return setpoint[1] - world.measured()[1]


def test_the_arm_lags_its_command_by_the_declared_time():
    world = TwinWorld()
    driver = TwinDriver(world, DifferentialIk(0.004, world.body.joint_limits))
    lag_m = follow(driver, world, velocity=0.3, seconds=0.8)
    assert lag_m / 0.3 == pytest.approx(SERVO_LAG_S, abs=0.015)


def test_a_setpoint_out_of_reach_is_a_fault_that_stays_until_reset():
    world = TwinWorld()
    driver = TwinDriver(world, DifferentialIk(0.004, world.body.joint_limits))
    driver.command(np.array([2.0, 0, 0.3, 0, 1, 0, 0, 1.0]), world.t_ns + 4_000_000)
    assert "cannot follow" in driver.read(world.t_ns).fault
    driver.command(world.measured(), world.t_ns + 8_000_000)
    assert driver.read(world.t_ns).fault
    driver.reset()
    assert driver.read(world.t_ns).fault == ""


def test_a_setpoint_that_is_not_finite_is_a_fault_and_moves_nothing():
    world = TwinWorld()
    driver = TwinDriver(world, DifferentialIk(0.004, world.body.joint_limits))
    targets = world.data.ctrl.copy()
    driver.command(np.array([np.nan, 0, 0.3, 0, 1, 0, 0, 1.0]), world.t_ns + 4_000_000)
    assert "not finite" in driver.read(world.t_ns).fault
    np.testing.assert_array_equal(world.data.ctrl, targets)


def test_fingers_move_no_faster_than_the_real_ones():
    world = TwinWorld()
    driver = TwinDriver(world, DifferentialIk(0.004, world.body.joint_limits))
    closed = world.measured()
    closed[7] = -1.0
    driver.command(closed, world.t_ns)
    world.advance(world.t_ns + 100_000_000)
    opening = world.snapshot().finger_width_m
    assert 0.080 - 2 * 0.05 * 0.1 - 1e-3 < opening < 0.080 - 0.5 * 2 * 0.05 * 0.1


def test_a_model_of_the_users_own_replaces_the_look(tmp_path: Path):
    path = tmp_path / "mine.xml"
    path.write_text(arm_model.arm_mjcf().replace("0.93 0.94 0.95 1", "0.1 0.9 0.1 1"))
    world = TwinWorld(WorldConfig(arm_model=path))
    geoms = [world.model.geom(i) for i in range(world.model.ngeom)]
    assert any(np.allclose(geom.rgba, [0.1, 0.9, 0.1, 1]) for geom in geoms)
    np.testing.assert_allclose(world.measured(), TwinWorld().measured(), atol=1e-9)


def test_a_model_without_the_names_is_refused_with_all_of_them(tmp_path: Path):
    path = tmp_path / "other.xml"
    path.write_text(arm_model.arm_mjcf().replace('name="joint3"', 'name="elbow"'))
    with pytest.raises(ConfigError, match=r"no joint joint3\. .*Valid: .*joint joint7.*site tcp"):
        arm_model.arm_spec(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        arm_model.arm_spec(tmp_path / "nowhere.xml")
    path.write_text("<mujoco><worldbody>")
    with pytest.raises(ConfigError, match="cannot be read"):
        arm_model.arm_spec(path)


def test_a_look_with_other_kinematics_is_refused(tmp_path: Path):
    path = tmp_path / "longer.xml"
    tcp = f'name="tcp" pos="0 0 {arm_model.HAND_TCP_M}"'
    assert tcp in arm_model.arm_mjcf()
    path.write_text(arm_model.arm_mjcf().replace(tcp, 'name="tcp" pos="0 0 0.15"'))
    with pytest.raises(ConfigError, match=r"another arm than the Franka\. Got its TCP is 46\.6 mm"):
        arm_model.arm_spec(path)
