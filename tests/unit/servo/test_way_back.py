"""After a refusal the servo goes on from what the arm plays: it brakes, and tries again."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from arm_doubles import HOME, LIMITS, MS, assert_inside
from hypothesis import given, settings
from hypothesis import strategies as st
from servo_loop import SESSION, ServoLoop, publish

from dvla.bindings import REMEMBERED
from dvla.runtime.messages import Command
from dvla.runtime.pose import Float64
from dvla.runtime.start_move import PhasedPlanner
from dvla.runtime.telemetry import SERVO_TICK

FOLDED = np.array([0.27, 0.0, 0.05])
"""Too near to the base for the hand to point down: the arm is almost singular there."""


def eager() -> ServoLoop:
    """Return a loop whose servo plans with more jerk than its arm takes, but less than twice."""
    jerk = 0.6 * LIMITS.shaper.linear_jerk
    envelope = msgspec.structs.replace(LIMITS.envelope, linear_jerk=jerk)
    shaper = msgspec.structs.replace(LIMITS.shaper, linear_jerk=jerk)
    loop = ServoLoop(limits=msgspec.structs.replace(LIMITS, envelope=envelope, shaper=shaper))
    loop.limits = LIMITS
    loop.new_servo(SESSION)
    return loop


def started(**options: object) -> ServoLoop:
    loop = ServoLoop(**options)  # type: ignore[arg-type]
    loop.lease()
    loop.run(0.1)
    return loop


def lead(loop: ServoLoop, goal: Float64, duration_s: float, over_s: float) -> None:
    """Publish a line from the commanded pose to a position, and run."""
    rows = np.repeat(np.array(loop.arm.state(loop.now_ns).commanded)[None], 40, axis=0)
    share = np.minimum(1.0, (1.0 + np.arange(40.0)) * 0.04 / over_s)[:, None]
    rows[:, :3] += share * (goal - rows[:, :3])
    publish(loop.stream, rows, loop.now_ns, t_obs_ns=loop.now_ns)
    loop.run(duration_s)


def commanded(loop: ServoLoop) -> Float64:
    return np.array(loop.arm.state(loop.now_ns).commanded)[:3]


def late(wire_ms: int) -> Callable[[int, Command, int], list[tuple[int, Command]]]:
    return lambda _i, command, sent_ns: [(sent_ns + wire_ms * MS, command)]


@pytest.mark.parametrize(("wire_ms", "state_ms"), [(1, 2), (8, 6)])
@pytest.mark.parametrize("rate_hz", [125, 250, 1000])
def test_an_arm_that_is_led_where_it_may_not_go_brakes_and_is_led_away_again(
    wire_ms: int, state_ms: int, rate_hz: int
) -> None:
    loop = started(rate_hz=rate_hz, wire=late(wire_ms), state_delay_ns=state_ms * MS)
    lead(loop, FOLDED, 1.2, over_s=0.5)
    assert loop.rejected.keys() & {"singularity", "unreachable", "joint_jerk"}
    assert np.linalg.norm(commanded(loop) - FOLDED) > 0.01
    lead(loop, HOME[:3], 1.4, over_s=0.7)
    assert np.linalg.norm(commanded(loop) - HOME[:3]) < 0.002
    assert "stopping" not in loop.events.modes()
    assert loop.arm.state(loop.now_ns).arm_epoch == 1
    assert_inside(loop.driver)


def test_without_the_way_back_the_arm_stops_there() -> None:
    """What the arm does by itself when a servo plans on from refused commands."""
    loop = started(state_delay_ns=200 * MS)
    lead(loop, FOLDED, 1.2, over_s=0.5)
    assert "stopping" in loop.events.modes()
    assert_inside(loop.driver)


def test_where_the_first_step_from_rest_is_refused_it_is_made_more_gently() -> None:
    loop = eager()
    loop.lease()
    loop.run(0.1)
    goal = HOME[:3] + np.array([0.0, 0.08, 0.05])
    lead(loop, goal, 3.0, over_s=0.3)
    assert set(loop.rejected) == {"linear_jerk"}
    assert "stopping" not in loop.events.modes()
    assert np.linalg.norm(commanded(loop) - goal) < 0.002
    assert_inside(loop.driver)


def test_a_start_that_is_refused_at_once_is_made_again_from_rest() -> None:
    """The stream moves before the arm follows: already the first plan is refused."""
    loop = eager()
    goal = HOME[:3] + np.array([0.0, 0.08, 0.05])
    rows = np.repeat(HOME[None], 60, axis=0)
    rows[:, :3] = goal
    publish(loop.stream, rows, loop.now_ns, t_obs_ns=loop.now_ns)
    loop.lease()
    loop.run(2.0)
    assert set(loop.rejected) == {"linear_jerk"}
    assert "stopping" not in loop.events.modes()
    assert np.linalg.norm(commanded(loop) - goal) < 0.002
    assert_inside(loop.driver)


def test_one_refused_command_costs_a_moment() -> None:
    """A command that is mangled on its way is refused; the next ones are as good as ever."""

    def wire(index: int, command: Command, sent_ns: int) -> list[tuple[int, Command]]:
        if index == 60:
            rows = np.array(command.setpoints_array())
            rows[12:, 0] += 0.02
            command = msgspec.structs.replace(command, setpoints=rows.tobytes())
        return [(sent_ns + MS, command)]

    loop = started(wire=wire)
    goal = HOME[:3] + np.array([0.0, 0.2, 0.0])
    lead(loop, goal, 1.0, over_s=0.8)
    assert sum(loop.rejected.values()) == 1
    row = np.zeros(1, SERVO_TICK)[0]
    loop.servo.fill(row)
    assert row["taken_back"] == 1
    times, rows = loop.driver.rows()
    moving = (times > times[0] + 0.3) & (times < times[0] + 0.7)
    speed = np.diff(rows[moving, 1]) / 0.001
    assert speed.min() > 0.15, "the arm goes on at nearly the 0.25 m/s of the line"
    assert np.linalg.norm(commanded(loop) - goal) < 0.001
    assert_inside(loop.driver)


def test_refusals_for_time_or_order_take_nothing_back() -> None:
    loop = started(wire=late(1))
    lead(loop, HOME[:3] + np.array([0.0, 0.1, 0.0]), 0.2, over_s=0.5)
    for command in loop.commands[-3:]:
        assert loop.arm.on_command(command, loop.now_ns).reason == "order"
    assert loop.arm.on_command(loop.commands[5], loop.now_ns).reason == "order"
    stale = msgspec.structs.replace(loop.commands[-1], sequence=10**6)
    assert loop.arm.on_command(stale, loop.now_ns + 500 * MS).reason == "late"
    assert loop.arm.state(loop.now_ns).refused_sequence == -1


def test_verdicts_that_come_too_late_end_in_a_stop_of_the_arm() -> None:
    loop = started(rate_hz=1000, state_delay_ns=(REMEMBERED + 40) * MS)
    lead(loop, FOLDED, 1.2, over_s=0.5)
    assert "stopping" in loop.events.modes()
    assert_inside(loop.driver)


@settings(max_examples=20, deadline=None)
@given(
    goals=st.lists(
        st.tuples(
            st.floats(0.2, 0.8), st.floats(-0.5, 0.5), st.floats(0.0, 0.8), st.floats(0.1, 0.6)
        ),
        min_size=1,
        max_size=4,
    ),
    wire_ms=st.integers(0, 12),
    state_ms=st.integers(0, 12),
)
def test_wherever_it_is_led_the_arm_comes_back_and_nothing_is_over_a_limit(
    goals: list[tuple[float, float, float, float]], wire_ms: int, state_ms: int
) -> None:
    loop = started(wire=late(wire_ms), state_delay_ns=state_ms * MS)
    for x, y, z, over_s in goals:
        lead(loop, np.array([x, y, z]), 0.5, over_s=over_s)
    assert_inside(loop.driver)


def test_a_slow_move_is_taken_back_nowhere() -> None:
    loop = started()
    planner = loop.servo._planner
    phased = PhasedPlanner(planner, HOME, 4 * MS, LIMITS.envelope)
    phased.wants_move = True
    phased.reset(HOME)
    rows = np.empty((25, 8))
    phased.plan(loop.now_ns, rows)
    phased.remember(1)
    assert phased.take_back(1) is None
