"""The servo keeps its plans, and the stops from them, inside the workspace."""

from __future__ import annotations

import msgspec
import numpy as np
from arm_doubles import HOME, MS, assert_inside
from hypothesis import given, settings
from hypothesis import strategies as st
from servo_loop import ServoLoop, publish

from dvla.bindings import ServoPlanner
from dvla.runtime.robots.franka import FRANKA_TWIN_LIMITS
from dvla.runtime.servo import WORKSPACE_MARGIN_M
from dvla.runtime.telemetry import SERVO_TICK

LIMITS = msgspec.structs.replace(FRANKA_TWIN_LIMITS, joints=None)
GOALS = st.tuples(st.floats(0.1, 0.9), st.floats(-0.7, 0.7), st.floats(-0.1, 0.9))


def lead_to(loop: ServoLoop, goal: tuple[float, ...], speed: float, seconds: float) -> None:
    """Publish a chunk that goes straight to a place, as fast as it is said to, and stays there."""
    now, start = loop.now_ns, np.array(loop.arm.state(loop.now_ns).commanded)
    rows = np.repeat(start[None], 20, axis=0)
    way = np.array(goal) - start[:3]
    share = np.minimum(1.0, speed * 0.04 * np.arange(20) / max(float(np.linalg.norm(way)), 1e-6))
    rows[:, :3] += share[:, None] * way
    publish(loop.stream, rows, now, t_obs_ns=now - 50 * MS)
    loop.run(round(seconds, 3))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(GOALS, st.floats(0.2, 5.0), st.floats(0.1, 0.7)), max_size=5))
def test_actions_that_lead_out_of_the_workspace_are_slowed_and_not_refused(
    ways: list[tuple[tuple[float, float, float], float, float]],
) -> None:
    loop = ServoLoop(limits=LIMITS, home=HOME)
    loop.lease()
    loop.run(0.1)
    for goal, speed, seconds in ways:
        lead_to(loop, goal, speed, seconds)
    assert loop.rejected == {}
    assert_inside(loop.driver, LIMITS)


def test_the_arm_comes_to_the_table_as_near_as_the_margin_and_it_is_told() -> None:
    loop = ServoLoop(limits=LIMITS, home=HOME)
    loop.lease()
    loop.run(0.1)
    for _ in range(2):
        lead_to(loop, (0.45, 0.1, -0.2), 1.0, 0.7)
    assert loop.rejected == {}
    lowest = LIMITS.workspace.lower[2] + WORKSPACE_MARGIN_M
    assert loop.driver.rows()[1][:, 2].min() > lowest - 1e-3
    np.testing.assert_allclose(loop.arm.state(loop.now_ns).commanded[2], lowest, atol=1e-3)
    row = np.zeros(1, SERVO_TICK)[0]
    loop.servo.fill(row)
    assert row["saturation"] & ServoPlanner.SATURATED_WORKSPACE
