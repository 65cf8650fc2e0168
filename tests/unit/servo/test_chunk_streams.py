"""Arbitrary streams of chunks, wires and holds: nothing over a limit ever reaches a driver.

A state machine plays servo, wire and arm against one another under virtual time. What the driver
was sent is judged apart from the gate: the TCP by differences of what was sent, the joints by what
a driver makes of it.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from arm_doubles import HOME, MS, assert_inside
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from mutants import mutant
from servo_loop import ServoLoop, publish

from dvla.bindings import FACTS
from dvla.runtime import ik
from dvla.runtime.events import ArmModeChanged
from dvla.runtime.ik import DifferentialIk, make_chain
from dvla.runtime.joint_gate import JointGate
from dvla.runtime.limits import ArmLimits, JointLimits
from dvla.runtime.messages import Command, FollowRequest, HoldRequest
from dvla.runtime.pose import Float64
from dvla.runtime.robots.franka import FRANKA_LIMITS, FRANKA_TWIN_LIMITS
from dvla.runtime.robots.piper.limits import PIPER_LIMITS
from dvla.runtime.rotation import rotate
from dvla.runtime.safety import ACCEPTED

METRES = st.floats(-0.5, 0.5)
WIRES = ("fine", "lossy", "late", "twice", "mangled", "unordered")
LOW = np.array([0.35, 0.2, 0.06, 0.0, 1.0, 0.0, 0.0, 1.0])


def assert_joints_inside(
    loop: ServoLoop, limits: ArmLimits, solver: type[DifferentialIk] = DifferentialIk
) -> None:
    """Assert what holds of the joints, while the arm follows and in its stops.

    Args:
        loop: what was played.
        limits: of the arm.
        solver: of the driver.
    """
    joints = limits.joints
    assert joints is not None
    times, rows = loop.driver.rows()
    period_s = float(times[1] - times[0])
    q = _driven(solver(period_s, joints), joints, rows)
    chain, facts = make_chain(joints), np.empty((len(rows), FACTS))
    for at in range(len(rows)):
        chain.follow(q[at], rows[at : at + 1], q[at : at + 1], facts[at : at + 1], 0)
    following = _following(loop, times)
    # The stop that comes may lie between two that were judged, and drivers take turns of their own.
    for when, share in ((following, 1.0), (~following, 2.0)):
        assert facts[when, 0].max(initial=0.0) <= share * joints.max_miss_m
        assert facts[when, 1].max(initial=0.0) <= share * joints.max_miss_rad
    # Where a stop has ended nearer to a singularity, the arm is let out: it comes no nearer there.
    begins = following & ~np.concatenate([[False], following[:-1]])
    begun = facts[np.maximum.accumulate(np.where(begins, np.arange(len(rows)), 0)), 2]
    least = np.where(following, np.minimum(begun, joints.min_manipulability), 0.0)
    assert (facts[:, 2] >= 0.95 * np.maximum(least, joints.min_manipulability / 3.0)).all()
    assert facts[:, 3].min() >= joints.self_clearance_m - 1e-3
    assert facts[:, 4].min() >= joints.plane_clearance_m - 1e-3
    assert (q >= np.array(joints.lower) + joints.margin_rad - 1e-9).all()
    assert (q <= np.array(joints.upper) - joints.margin_rad + 1e-9).all()
    speed = np.abs(np.diff(q, axis=0)) / period_s
    assert (speed <= (1.0 + 1e-6) * np.array(joints.velocity)).all(), speed.max(axis=0)
    for order, bounds in ((2, joints.acceleration), (3, joints.jerk)):
        change = np.abs(np.diff(q, n=order, axis=0)) / period_s**order
        assert (change <= (1.0 + 1e-6) * np.array(bounds)).all(), (order, change.max(axis=0))


def _driven(ik: DifferentialIk, joints: JointLimits, rows: Float64) -> Float64:
    """Return the joints (n, j) of a driver that is sent rows (n, 8) and stands at the first one."""
    at = np.empty((1, len(joints.lower)))
    make_chain(joints).follow(ik.q, rows[:1], at, np.empty((1, FACTS)), 500)
    ik.reset(at[0])
    return np.array([ik.step(row)[0] for row in rows])


def _following(loop: ServoLoop, times: Float64) -> np.ndarray:
    """Return where (n,) the arm followed commands, without a spline's support at either end."""
    following = np.zeros(len(times), bool)
    since = None
    changes = [event for event in loop.events.events if isinstance(event, ArmModeChanged)]
    for t_s, mode in [*((event.t_ns * 1e-9, event.mode) for event in changes), (np.inf, "")]:
        if mode == "follow":
            since = t_s
        elif since is not None:
            following |= (times >= since + 0.01) & (times <= t_s - 0.01)
            since = None
    return following


def _turned(pose: Float64, position: tuple[float, float, float], lean_rad: float) -> Float64:
    """Return a pose elsewhere, its hand leaning outwards."""
    turned = pose.copy()
    turned[:3] = position
    turned[3:7] = rotate(np.array([0.0, -lean_rad, 0.0]), pose[3:7])
    return turned


class Streams(RuleBasedStateMachine):
    """Chunks as they come, on wires as they are."""

    limits = FRANKA_TWIN_LIMITS
    homes = HOME, LOW
    periods_ms = 2, 1

    @initialize(low=st.booleans(), fast=st.booleans())
    def begin(self, low: bool, fast: bool) -> None:
        self.wire = "fine"
        self.loop = ServoLoop(
            limits=self.limits,
            wire=self.carry,
            home=self.homes[low],
            arm_period_ns=self.periods_ms[fast] * MS,
        )
        self.chunk = 0
        self.loop.lease()
        self.loop.run(0.1)

    def carry(self, index: int, command: Command, sent_ns: int) -> list[tuple[int, Command]]:
        if self.wire == "lossy" and index % 3:
            return []
        if self.wire == "late":
            return [(sent_ns + (1 + 37 * index % 60) * MS, command)]
        if self.wire == "twice":
            return [(sent_ns + MS, command), (sent_ns + 9 * MS, command)]
        if self.wire == "unordered" and index % 2:
            return [(sent_ns + 6 * MS, command)]
        if self.wire == "mangled":
            rows = np.array(command.setpoints_array())
            rows[index % len(rows) :, index % 3] += 0.02 * (index % 5)
            return [(sent_ns + MS, _with(command, rows))]
        return [(sent_ns + MS, command)]

    @rule(
        way=st.tuples(METRES, METRES, METRES),
        turn=st.tuples(*[st.floats(-1.5, 1.5)] * 3),
        jump=st.sampled_from([0.0, 0.056, 0.3]),
        age_ms=st.sampled_from([50, 300, 5000]),
        seconds=st.floats(0.05, 0.4),
    )
    def stream(
        self,
        way: tuple[float, float, float],
        turn: tuple[float, float, float],
        jump: float,
        age_ms: int,
        seconds: float,
    ) -> None:
        at = np.array(self.loop.arm.state(self.loop.now_ns).commanded)
        rows = np.repeat(at[None], 20, axis=0)
        share = np.linspace(0.0, 1.0, 20)
        rows[:, :3] += share[:, None] * np.array(way) + jump * np.array([0.0, -0.6, 0.8])
        for row, part in zip(rows, share, strict=True):
            row[3:7] = rotate(part * np.array(turn), at[3:7])
        self.chunk += 1
        now = self.loop.now_ns
        publish(self.loop.stream, rows, now, t_obs_ns=now - age_ms * MS, chunk=self.chunk)
        self.loop.run(round(seconds, 3))

    @rule(wire=st.sampled_from(WIRES))
    def change_wire(self, wire: str) -> None:
        self.wire = wire

    @rule()
    def hold(self) -> None:
        self.loop.arm.handle(HoldRequest(session=99, sequence=1, reason="test"), self.loop.now_ns)
        self.loop.run(0.1)
        self.loop.arm.handle(FollowRequest(session=self.loop.session, sequence=2), self.loop.now_ns)

    @rule(seconds=st.sampled_from([0.05, 0.15]))
    def servo_is_silent(self, seconds: float) -> None:
        self.loop.servo_alive = False
        self.loop.run(seconds)
        self.loop.servo_alive = True

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run(0.2)
            assert_inside(self.loop.driver, self.limits)
            assert_joints_inside(self.loop, self.limits)


class RealStreams(Streams):
    """The same with the limits of the real arm, whose joints may do less."""

    limits = FRANKA_LIMITS


class PiperStreams(Streams):
    """The same for an arm of six joints: at the end of one the attitude gives way."""

    limits = PIPER_LIMITS
    periods_ms = 4, 1
    homes = _turned(HOME, (0.28, 0.0, 0.18), 0.4), _turned(HOME, (0.28, 0.15, 0.044), 0.05)


def _with(command: Command, rows: Float64) -> Command:
    return msgspec.structs.replace(command, setpoints=rows.tobytes())


FEW = settings(max_examples=3, stateful_step_count=10, deadline=None)
TestTwin = Streams.TestCase
TestTwin.settings = FEW
TestReal = RealStreams.TestCase
TestReal.settings = FEW
TestPiper = PiperStreams.TestCase
TestPiper.settings = FEW


def test_a_stop_in_which_the_elbow_swung_keeps_the_speeds_of_the_joints() -> None:
    """A joint met its end late in a stop, and others swung at 7 rad/s."""
    still = (0.0, 0.0, 0.0)
    streams = Streams()
    streams.begin(low=True, fast=True)
    for way, turn, jump, seconds in (
        ((0.0, 0.0, 0.375), (-0.158, -0.617, 0.277), 0.0, 0.058),
        ((-0.26, -0.214, -0.071), (-0.622, 0.0, -0.726), 0.0, 0.165),
        (still, (0.362, 0.0, 0.0), 0.0, 0.313),
        (still, (0.817, 1.381, -0.232), 0.056, 0.245),
        (still, still, 0.0, 0.05),
        (still, still, 0.0, 0.05),
        ((0.447, 0.0, 0.0), still, 0.0, 0.077),
        ((-0.265, 0.0, 0.0), still, 0.3, 0.353),
    ):
        streams.stream(way=way, turn=turn, jump=jump, age_ms=50, seconds=seconds)
    streams.teardown()


def swung() -> Streams:
    """Play a stream in whose stop joint 4 meets its end: others would go at 5.5 rad/s then."""
    streams = Streams()
    streams.begin(low=True, fast=False)
    way, turn = (-0.357, 0.036, 0.067), (-0.86, -1.094, -1.367)
    streams.stream(way=way, turn=turn, jump=0.056, age_ms=50, seconds=0.197)
    return streams


@pytest.mark.parametrize(
    "bounds",
    ["acceleration=(1e3,) * 7", "jerk=(1e9,) * 7", "acceleration=(1e3,) * 7, jerk=(1e9,) * 7"],
)
def test_the_judge_sees_a_driver_whose_joints_change_too_fast_in_a_stop(bounds: str) -> None:
    streams = swung()
    streams.teardown()
    old = "self.reset(np.array(limits.geometry.posture))"
    new = f"import msgspec\n        limits = msgspec.structs.replace(limits, {bounds})"
    free = mutant(ik, old, f"{new}\n        self._chain = make_chain(limits)\n        {old}")
    with pytest.raises(AssertionError):
        assert_joints_inside(streams.loop, streams.limits, free.DifferentialIk)


def test_the_gate_knows_the_joints_of_the_driver_at_every_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def apart() -> float:
        loop = swung().loop
        times, rows = loop.driver.rows()
        joints = loop.limits.joints
        gate = loop.arm._player.gate._joints
        assert joints is not None and gate is not None
        q = _driven(DifferentialIk(float(times[1] - times[0]), joints), joints, rows)
        return float(np.abs(gate.q - q[-1]).max())

    assert apart() < 1e-6
    monkeypatch.setattr(JointGate, "play", lambda *a: None)
    assert apart() > 0.01


def test_a_replayed_stream_with_seams_of_56_mm_gives_no_violation_and_no_rejection() -> None:
    loop = ServoLoop()
    loop.lease()
    loop.run(0.1)
    for chunk in range(8):
        now = loop.now_ns
        at = np.array(loop.arm.state(now).commanded)
        rows = np.repeat(at[None], 20, axis=0)
        side = 1.0 if chunk % 2 else -1.0
        rows[:, :3] += 0.056 * side * np.array([0.0, -0.6, 0.8])
        rows[:, 1] += 0.006 * np.arange(20)
        publish(loop.stream, rows, now, t_obs_ns=now - 200 * MS, chunk=chunk)
        loop.run(0.24)
    assert loop.rejected == {}
    assert loop.arm.mode == "follow"
    assert_inside(loop.driver)
    assert_joints_inside(loop, FRANKA_TWIN_LIMITS)


def test_the_judge_of_joints_fails_on_an_arm_without_the_joint_gate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    joints = FRANKA_LIMITS.joints
    assert joints is not None
    slow = msgspec.structs.replace(joints, velocity=tuple(0.1 * v for v in joints.velocity))
    limits = msgspec.structs.replace(FRANKA_LIMITS, joints=slow)

    def play() -> ServoLoop:
        loop = ServoLoop(limits=limits, arm_period_ns=2 * MS)
        loop.lease()
        loop.run(0.1)
        rows = np.repeat(HOME[None], 20, axis=0)
        rows[:, 1] += 0.016 * np.arange(20)
        publish(loop.stream, rows, loop.now_ns, t_obs_ns=loop.now_ns)
        loop.run(0.5)
        return loop

    loop = play()
    assert loop.rejected["joint_velocity"] > 0
    assert_joints_inside(loop, limits)
    check = JointGate.check
    monkeypatch.setattr(JointGate, "check", lambda *a: (check(*a), ACCEPTED)[1])
    with pytest.raises(AssertionError):
        assert_joints_inside(play(), limits)
