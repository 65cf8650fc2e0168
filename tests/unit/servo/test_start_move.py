"""The slow move: within its own limits, through servo and gate, stopped by a hold, from rest."""

from __future__ import annotations

import numpy as np
import pytest
from arm_doubles import HOME, MS, assert_inside, motion_extremes
from hypothesis import given, settings
from hypothesis import strategies as st
from servo_loop import SESSION, ServoLoop, publish

from dvla.runtime.limits import CartesianLimits
from dvla.runtime.messages import FollowRequest, HoldRequest, ResumeRequest
from dvla.runtime.pose import Float64, quaternion_from_euler
from dvla.runtime.rotation import rotation_between
from dvla.runtime.servo import ServoCore
from dvla.runtime.start_move import (
    MOVE_CHUNK,
    SLOW,
    PhasedPlanner,
    SlowMove,
    make_planner,
    move_duration_s,
)

metres = st.floats(-0.4, 0.4)
radians = st.floats(-3.0, 3.0)


def setpoint(x: float, y: float, z: float, rx: float, ry: float, rz: float) -> Float64:
    return np.array([x, y, z, *quaternion_from_euler(np.array([rx, ry, rz])), 1.0])


def apart(a: Float64, b: Float64) -> tuple[float, float]:
    turn = rotation_between(a[3:7], b[3:7])
    return float(np.linalg.norm(a[:3] - b[:3])), float(np.linalg.norm(turn))


poses = st.builds(setpoint, metres, metres, metres, radians, radians, radians)


def by_order(limits: CartesianLimits) -> Float64:
    return np.array(
        [
            [limits.linear_velocity, limits.angular_velocity],
            [limits.linear_acceleration, limits.angular_acceleration],
            [limits.linear_jerk, limits.angular_jerk],
        ]
    )


@settings(max_examples=60, deadline=None)
@given(poses, poses)
def test_a_move_keeps_its_own_low_limits_and_arrives(start: Float64, goal: Float64) -> None:
    move = SlowMove(start, goal, 0)
    period_ns = 20 * MS
    times = np.arange(0, move.end_ns + 2 * period_ns, period_ns, dtype=np.int64)
    rows = np.empty((len(times), 8))
    move.at(times, rows)
    assert apart(rows[0], start) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert apart(rows[-1], goal) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert np.abs(np.linalg.norm(rows[:, 3:7], axis=1) - 1.0).max() < 1e-9
    assert (rows[:, 7] == start[7]).all()
    slack = np.array([[1.001], [1.01], [1.05]])
    assert (motion_extremes(0.02, rows) <= by_order(SLOW) * slack + 1e-6).all()
    assert move_duration_s(start, goal) <= 60.0


class MovingLoop(ServoLoop):
    """A servo and an arm with a start pose."""

    goal = setpoint(0.5, 0.12, 0.3, np.pi, 0.2, 0.3)

    def new_servo(self, session: int) -> None:
        self.session = session
        planner = make_planner(self.stream, self.limits, self.config, tuple(self.goal))
        assert isinstance(planner, PhasedPlanner)
        self.planner = planner
        self.servo = ServoCore(
            self.stream, self.limits, self.config, session=session, planner=planner
        )

    def _servo_tick(self) -> None:
        seen = [state for t_ns, state in self._states if t_ns <= self.now_ns]
        self.planner.seen_ns = seen[-1].t_ns if seen else 0
        super()._servo_tick()

    def at_goal(self) -> bool:
        commanded = np.array(self.arm.state(self.now_ns).commanded)
        return max(apart(commanded, self.goal)) < 1e-6


def test_the_gate_accepts_all_of_it_and_the_policy_follows_from_rest() -> None:
    loop = MovingLoop()
    loop.lease()
    loop.run(0.2)
    loop.planner.wants_move = True
    loop.run(0.05)
    assert loop.planner.chunk_id == MOVE_CHUNK and loop.planner.t_obs_ns > 0
    loop.run(move_duration_s(HOME, loop.goal) + 0.3)
    assert loop.at_goal() and loop.planner.t_obs_ns == 0
    loop.planner.wants_move = False
    rows = np.repeat(loop.goal[None], 20, axis=0)
    rows[:, 2] += np.linspace(0.0, 0.05, 20)
    publish(loop.stream, rows, loop.now_ns, t_obs_ns=loop.now_ns)
    loop.run(0.9)
    assert loop.planner.chunk_id != MOVE_CHUNK
    assert loop.driver.sent[-1][1][2] > loop.goal[2] + 0.02
    assert not loop.rejected
    assert_inside(loop.driver)
    speed = motion_extremes(1e-3, loop.driver.rows()[1][: int(2e3)])[0]
    assert speed[0] <= SLOW.linear_velocity * 1.01 and speed[1] <= SLOW.angular_velocity * 1.01


def test_a_hold_stops_it_and_a_resume_goes_on_from_there() -> None:
    loop = MovingLoop()
    loop.lease()
    loop.planner.wants_move = True
    loop.run(1.2)
    loop.arm.handle(HoldRequest(session=99, sequence=0, reason="a person"), loop.now_ns)
    loop.run(1.0)
    stood = loop.driver.sent[-1][1]
    loop.run(0.5)
    assert np.array_equal(loop.driver.sent[-1][1], stood) and not loop.at_goal()
    assert loop.arm.handle(ResumeRequest(session=99, sequence=1), loop.now_ns).ok
    loop.run(move_duration_s(stood, loop.goal) + 0.5)
    assert loop.at_goal()
    assert_inside(loop.driver)


def test_a_move_waits_for_a_stop_while_the_policy_moves_the_arm() -> None:
    loop = MovingLoop()
    loop.lease()
    rows = np.repeat(HOME[None], 40, axis=0)
    rows[:, 1] += np.linspace(0.0, 0.2, 40)
    publish(loop.stream, rows, loop.now_ns + 100 * MS, t_obs_ns=loop.now_ns)
    loop.run(0.8)
    loop.planner.wants_move = True
    loop.run(0.1)
    assert loop.planner.chunk_id != MOVE_CHUNK
    loop.arm.handle(HoldRequest(session=SESSION, sequence=0, reason="end"), loop.now_ns)
    loop.run(0.8)
    assert loop.arm.mode == "hold"
    loop.arm.handle(FollowRequest(session=SESSION, sequence=0), loop.now_ns)
    stood = loop.driver.sent[-1][1]
    loop.run(move_duration_s(stood, loop.goal) + 0.5)
    assert loop.at_goal()
    assert_inside(loop.driver)
