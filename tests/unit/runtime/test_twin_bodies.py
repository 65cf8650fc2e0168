"""Every arm with a twin: its model is its kinematics, and its scenes are ones that it can serve."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvla.runtime.errors import ConfigError
from dvla.runtime.oracle.attitude import LeaningHand
from dvla.runtime.oracle.expert import EXPERTS
from dvla.runtime.pose import euler_from_quaternion, quaternion_from_euler
from dvla.runtime.robots import ROBOTS
from dvla.runtime.robots.piper.kinematics import Q_LOWER, Q_UPPER, tcp_and_twist
from dvla.runtime.twin.bodies import BODIES, FRANKA_BODY, PIPER_BODY, body_of_code, twin_body
from dvla.runtime.twin.objects import draw_episode
from dvla.runtime.twin.scenes.choice import DIMENSIONS, SceneChoice, TaskKind
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.scenes.environment import draw_environment
from dvla.runtime.twin.world import TwinWorld, WorldConfig

FRANKA_EPISODES_SHA256 = "8f4bea9dde8f7df8eaea7bd5f3c775958a48bb59553cf96abb2585b10e72b8cf"
"""Of the plain scenes behind every Franka figure in the documentation."""
WRIST = PIPER_BODY.wrist
assert WRIST is not None


def test_the_frankas_plain_scenes_are_the_frozen_ones() -> None:
    drawn = [draw_episode(seed) for seed in range(20_000, 20_200)]
    assert hashlib.sha256(msgspec.json.encode(drawn)).hexdigest() == FRANKA_EPISODES_SHA256


def test_every_twin_has_a_body_an_expert_and_a_code_of_its_own() -> None:
    twins = {name for name, robot in ROBOTS.items() if robot.twin}
    assert twins == set(BODIES) == set(EXPERTS)
    assert [body_of_code(body.code).name for body in BODIES.values()] == list(BODIES)
    with pytest.raises(ConfigError, match=r"unknown arm.*99.*franka, piper"):
        body_of_code(99)
    with pytest.raises(ConfigError, match=r"replay has no digital twin.*franka, piper"):
        twin_body("replay")
    FRANKA_BODY.refuse_look(Path("other.xml"))
    with pytest.raises(ConfigError, match="piper's has only its own"):
        PIPER_BODY.refuse_look(Path("other.xml"))


# -- the wrist that ends ------------------------------------------------------------------------


def upright_arm(q2: float, q3: float, q5: float) -> tuple[float, float, float]:
    """Return radius, height and lean of the TCP for joints in the arm's vertical plane."""
    tcp, _ = tcp_and_twist(np.array([0.0, q2, q3, 0.0, q5, 0.0]), np.zeros(6))
    return float(tcp[0, 3]), float(tcp[2, 3]), math.atan2(tcp[0, 2], -tcp[2, 2])


@settings(max_examples=200, deadline=None)
@given(st.floats(0.9, 2.0), st.floats(-1.8, -0.4), st.floats(0.4, WRIST.bend_rad))
def test_joints_that_are_somewhere_lean_at_least_as_much_as_is_needed(
    q2: float, q3: float, q5: float
) -> None:
    radius_m, height_m, lean = upright_arm(q2, q3, q5)
    if not (0.15 < radius_m < 0.5 and 0.0 < height_m < 0.35 and -0.2 < lean < 1.1):
        return
    assert WRIST.lean(radius_m, height_m) <= max(lean, 0.0) + 1e-3
    radius_m, height_m, lean = upright_arm(q2, q3, WRIST.bend_rad)
    if 0.15 < radius_m < 0.5 and 0.0 < height_m < 0.35 and 0.0 < lean < 1.1:
        assert WRIST.lean(radius_m, height_m) == pytest.approx(lean, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.floats(-0.8, 0.8), st.floats(0.2, 0.45), st.floats(0.0, 0.3), st.floats(-1.2, 1.2))
def test_a_hand_that_leans_is_taken_up_where_it_was(
    azimuth: float, radius_m: float, height_m: float, yaw: float
) -> None:
    at = np.array([radius_m * math.cos(azimuth), radius_m * math.sin(azimuth), height_m])
    down = quaternion_from_euler(np.array([math.pi, 0.0, 0.0]))
    fast = LeaningHand(WRIST, 1e3, at, down)
    euler = fast.euler(at, yaw, 1.0)
    again = LeaningHand(WRIST, 0.0, at, quaternion_from_euler(np.array(euler)))
    assert again.yaw == pytest.approx(yaw, abs=1e-9)
    np.testing.assert_allclose(again.euler(at, yaw, 1.0), euler, atol=1e-9)
    ahead = math.cos(azimuth), math.sin(azimuth), 0.0
    rotation = quaternion_from_euler(np.array(euler))
    w, x, y, z = rotation
    pointing = np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
    lean = WRIST.lean(radius_m, height_m)
    np.testing.assert_allclose(pointing, np.sin(lean) * np.array(ahead) - [0, 0, np.cos(lean)],
                               atol=1e-9)  # fmt: skip


# -- scenes -------------------------------------------------------------------------------------


def test_the_pipers_plain_scenes_are_within_its_reach_its_gripper_and_its_speed() -> None:
    shaper = ROBOTS["piper"].twin_limits.shaper
    assert PIPER_BODY.layout.speed_max == pytest.approx(0.75 * shaper.linear_velocity)
    reach = PIPER_BODY.reach
    for seed in range(20_000, 20_200):
        drawn = draw_episode(seed, layout=PIPER_BODY.layout)
        assert 2 * drawn.radius_m <= PIPER_BODY.opening_m - 0.019
        assert drawn.speed <= PIPER_BODY.layout.speed_max
        x, y = drawn.position
        if drawn.speed == 0.0:
            assert math.hypot(x, y) < reach.radius_m
        run_m = drawn.speed**2 / (2 * drawn.deceleration)
        ahead = [
            (x + s * math.cos(drawn.heading_rad), y + s * math.sin(drawn.heading_rad))
            for s in np.linspace(0.0, run_m, 50)
        ]
        within = [reach.x[0] <= px <= reach.x[1] and abs(py) <= reach.y for px, py in ahead]
        assert any(within), drawn


@pytest.mark.parametrize("task", ["pick", "place", "long"])
def test_the_pipers_scenes_fit_its_table(task: TaskKind) -> None:
    layout = PIPER_BODY.layout
    for seed in range(500_000, 500_010):
        scene = draw_scene(seed, SceneChoice(family="training", task=task), layout)
        for thing in scene.things:
            assert 2 * thing.radius_m <= PIPER_BODY.opening_m - 0.019
            assert thing.speed <= layout.speed_max
            assert layout.served_x[0] < thing.position[0] < layout.served_x[1]
            assert abs(thing.position[1]) < layout.served_y
        if scene.container is not None:
            assert math.hypot(*scene.container.position) < PIPER_BODY.reach.radius_m


def test_another_arms_environments_differ_in_what_moves_alone() -> None:
    share = PIPER_BODY.layout.speed_share
    for name in DIMENSIONS:
        plain, slower = (draw_environment(name, 7, b.layout) for b in BODIES.values())
        assert slower.speeds[1] == pytest.approx(share * plain.speeds[1], abs=1e-4)
        moving = ("speeds", "turn_speed", "push_n", "push_nm")
        same = {field: getattr(plain, field) for field in moving}
        assert msgspec.structs.replace(slower, **same) == plain


# -- the world ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worlds() -> dict[str, TwinWorld]:
    pytest.importorskip("mujoco")
    return {name: TwinWorld(WorldConfig(robot=name)) for name in BODIES}


def test_the_pipers_twin_is_its_published_kinematics(worlds: dict[str, TwinWorld]) -> None:
    mujoco = pytest.importorskip("mujoco")
    world = worlds["piper"]
    world.reset(3, 0)
    rng = np.random.default_rng(5)
    for q in rng.uniform(Q_LOWER, Q_UPPER, size=(10, 6)):
        world.data.qpos[[world.model.joint(name).qposadr[0] for name in PIPER_BODY.joints]] = q
        mujoco.mj_kinematics(world.model, world.data)
        tcp, _ = tcp_and_twist(q, np.zeros(6))
        site = world.data.site(PIPER_BODY.tcp_site)
        np.testing.assert_allclose(site.xpos, tcp[:3, 3], atol=1e-8)
        np.testing.assert_allclose(site.xmat.reshape(3, 3), tcp[:3, :3], atol=1e-8)


@pytest.mark.parametrize("name", list(BODIES))
def test_episodes_start_with_an_open_hand_within_the_workspace(
    name: str, worlds: dict[str, TwinWorld]
) -> None:
    body, world = BODIES[name], worlds[name]
    world.reset(3, 0)
    snapshot = world.snapshot()
    workspace = ROBOTS[name].twin_limits.workspace
    at = snapshot.measured[:3]
    assert (np.array(workspace.lower) < at).all() and (at < np.array(workspace.upper)).all()
    assert snapshot.arm == body.code and world.q.shape == (len(body.joints),)
    np.testing.assert_array_equal(snapshot.qpos[: len(body.joints)], world.q)
    assert not snapshot.qpos[len(body.joints) : 7].any()
    assert snapshot.finger_width_m == pytest.approx(body.opening_m)
    assert snapshot.measured[7] == pytest.approx(1.0)
    if body.wrist is not None:
        lean = body.wrist.lean(math.hypot(*at[:2]), at[2])
        ry = euler_from_quaternion(snapshot.measured[3:7])[1]
        assert lean < -ry < lean + 0.15
