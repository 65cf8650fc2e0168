"""The slow move: within its own limits, through servo and gate, stopped by a hold, from rest."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from arm_doubles import HOME, LIMITS, MS, assert_inside, motion_extremes
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import mutant_within
from servo_loop import SESSION, ServoLoop, publish
from servo_rig import Commander, continued

from dvla.runtime import arm as arm_module
from dvla.runtime import arm_gate, arm_player, safety
from dvla.runtime.limits import SLOW, CartesianLimits, slow_envelope
from dvla.runtime.messages import (
    FollowRequest,
    HoldRequest,
    LeaseRelease,
    PaceRequest,
    ResumeRequest,
)
from dvla.runtime.pose import Float64, quaternion_from_euler
from dvla.runtime.rotation import rotate, rotation_between
from dvla.runtime.servo import ServoCore
from dvla.runtime.start_move import (
    MOVE_CHUNK,
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


def duration_s(start: Float64, goal: Float64) -> float:
    return move_duration_s(start, goal, LIMITS.envelope)


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
    move = SlowMove(start, goal, 0, LIMITS.envelope)
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
    assert move_duration_s(start, goal, LIMITS.envelope) <= 60.0


def test_an_arm_that_is_slower_still_moves_at_its_own_pace() -> None:
    lame = msgspec.structs.replace(LIMITS.envelope, linear_velocity=0.02, angular_jerk=1.0)
    slow = slow_envelope(lame)
    assert (slow.linear_velocity, slow.angular_jerk) == (0.02, 1.0)
    assert slow.linear_jerk == SLOW.linear_jerk
    goal = HOME + 0.1 * np.eye(8)[0]
    assert move_duration_s(HOME, goal, lame) > 3.0 * move_duration_s(HOME, goal, LIMITS.envelope)


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

    def slow(self, slow: bool = True) -> None:
        request = PaceRequest(session=SESSION, sequence=0, slow=slow)
        assert self.arm.handle(request, self.now_ns).ok

    def at_goal(self) -> bool:
        commanded = np.array(self.arm.state(self.now_ns).commanded)
        return max(apart(commanded, self.goal)) < 1e-6


def test_the_gate_accepts_all_of_it_and_the_policy_follows_from_rest() -> None:
    loop = MovingLoop()
    loop.lease()
    loop.run(0.2)
    loop.slow()
    loop.planner.wants_move = True
    loop.run(0.05)
    assert loop.planner.chunk_id == MOVE_CHUNK and loop.planner.t_obs_ns > 0
    loop.run(duration_s(HOME, loop.goal) + 0.3)
    assert loop.at_goal() and loop.planner.t_obs_ns == 0
    loop.planner.wants_move = False
    loop.slow(False)
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
    loop.slow()
    loop.planner.wants_move = True
    loop.run(1.2)
    loop.arm.handle(HoldRequest(session=99, sequence=0, reason="a person"), loop.now_ns)
    loop.run(1.0)
    stood = loop.driver.sent[-1][1]
    loop.run(0.5)
    assert np.array_equal(loop.driver.sent[-1][1], stood) and not loop.at_goal()
    assert loop.arm.handle(ResumeRequest(session=99, sequence=1), loop.now_ns).ok
    loop.run(duration_s(stood, loop.goal) + 0.5)
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
    loop.slow()
    loop.arm.handle(FollowRequest(session=SESSION, sequence=0), loop.now_ns)
    stood = loop.driver.sent[-1][1]
    loop.run(duration_s(stood, loop.goal) + 0.5)
    assert loop.at_goal()
    assert_inside(loop.driver)


# -- the slow envelope in the gate ---------------------------------------------------------------

WITHIN = st.tuples(st.floats(0.3, 0.6), st.floats(-0.3, 0.3), st.floats(0.2, 0.5))
PERIOD_NS = 4 * MS


@settings(max_examples=40, deadline=None)
@given(ends=st.tuples(WITHIN, WITHIN), turn=st.tuples(*[st.floats(-0.5, 0.5)] * 3))
def test_the_slow_gate_takes_every_slow_move_whole_and_no_faster_one(
    ends: tuple[tuple[float, ...], tuple[float, ...]], turn: tuple[float, ...]
) -> None:
    start, goal = (setpoint(*end, np.pi, 0.0, 0.0) for end in ends)
    goal[3:7] = rotate(np.array(turn), start[3:7])
    slow = slow_envelope(LIMITS.envelope)
    move = SlowMove(start, goal, 0, LIMITS.envelope)
    times = np.arange(-4 * PERIOD_NS, move.end_ns + 4 * PERIOD_NS, PERIOD_NS, dtype=np.int64)
    rows = np.empty((len(times), 8))
    move.at(times, rows)
    assert safety.check_motion(rows[:4], rows[4:], 0.004, LIMITS, slow).ok
    assert safety.check_motion(rows[:4], rows[4:], 0.004, LIMITS).ok
    if max(apart(start, goal)) > 0.01:  # the same path in nine tenths of the time
        move.at(np.round(times / 0.9).astype(np.int64), rows)
        assert safety.check_motion(rows[:4], rows[4:], 0.004, LIMITS).ok
        assert not safety.check_motion(rows[:4], rows[4:], 0.004, LIMITS, slow).ok


STREAM = st.lists(
    st.tuples(
        st.sampled_from(["command"] * 4 + ["hold", "follow", "silence"]),
        st.integers(1, 30),
        st.lists(st.tuples(*[st.floats(-1.0, 1.0)] * 6), min_size=3, max_size=3),
        st.sampled_from([1e-4, 2e-3, 4e-3, 0.05, 1.0]),
    ),
    max_size=30,
)


def slow_stream(steps: list[Any], module: ModuleType = arm_module) -> None:
    """Play arbitrary commands while the gate is slow; assert that nothing fast is played."""
    rig = Commander(module)
    rig.lease()
    assert rig.ask(PaceRequest, slow=True).ok
    followed: list[list[Float64]] = [[]]
    for what, wait, shape, scale in steps:
        if what == "command":
            rig.send(
                continued(rig, np.array(shape) * scale), t_due_ns=rig.now // PERIOD_NS * PERIOD_NS
            )
        elif what in ("hold", "follow"):
            rig.ask(HoldRequest if what == "hold" else FollowRequest, **HELD[what])
        for _ in range(wait * (4 if what == "silence" else 1)):
            rig.ticks(1)
            if rig.arm.mode == "follow":
                followed[-1].append(rig.driver.sent[-1][1])
            elif followed[-1]:
                followed.append([])
    rig.ticks(600)
    assert_inside(rig.driver)
    bounds, slack = by_order(SLOW), np.array([[1.001], [1.001], [1.01]])
    for rows in followed:
        if len(rows) > 4:
            assert (motion_extremes(1e-3, np.array(rows)) <= bounds * slack + 1e-6).all()
    speed = motion_extremes(1e-3, rig.driver.rows()[1])[0]
    assert (speed <= bounds[0] * 1.001).all(), "a stop was faster than a slow move"


HELD: dict[str, dict[str, str]] = {"hold": {"reason": "test"}, "follow": {}}


@settings(max_examples=60, deadline=None)
@given(steps=STREAM)
def test_nothing_faster_than_a_slow_move_reaches_the_driver_for_arbitrary_streams(
    steps: list[Any],
) -> None:
    slow_stream(steps)


FAST: list[Any] = [("command", 4, [(1.0, 0.0, 0.0, 0.0, 0.0, 0.0)] * 3, 0.02)] * 30


@pytest.mark.parametrize(
    ("room", "old", "new"),
    [
        (arm_gate, "self._slow if self.slow else self.limits.envelope", "self.limits.envelope"),
        (arm_module, "self._pace(request.slow, now_ns)", "pass"),
    ],
)
def test_a_gate_that_is_not_slow_fails_it(room: ModuleType, old: str, new: str) -> None:
    slow_stream(FAST)
    broken = mutant_within((arm_player, arm_module), room, old, new)
    with pytest.raises(AssertionError):
        slow_stream(FAST, broken)


def test_it_is_the_commanders_to_ask_for_and_ends_with_its_lease() -> None:
    rig = Commander()
    rig.lease()
    assert not rig.ask(PaceRequest, session=99, slow=True).ok
    assert not rig.state().slow
    assert rig.ask(PaceRequest, slow=True).ok and rig.state().slow
    assert rig.ask(LeaseRelease).ok and not rig.state().slow


def test_a_move_at_the_policys_pace_is_refused_and_stopped_while_it_is_slow() -> None:
    loop = MovingLoop()
    loop.lease()
    loop.slow()
    loop.run(0.1)
    rows = np.repeat(HOME[None], 30, axis=0)
    rows[:, 1] += np.linspace(0.0, 0.3, 30)
    publish(loop.stream, rows, loop.now_ns, t_obs_ns=loop.now_ns)
    loop.run(0.5)
    slow = {"linear_velocity", "linear_acceleration", "linear_jerk", "stop_speed"}
    assert set(loop.rejected) & slow
    assert abs(loop.driver.sent[-1][1][1]) < 0.01
    assert_inside(loop.driver)
