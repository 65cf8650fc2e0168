"""The whole arm controller over the PiPER's driver and an emulated bus, under a virtual clock."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import pytest
from arm_doubles import EventList, LaggingDriver, assert_inside
from piper_emulator import LOWER, READY, TEACHING, UPPER
from servo_loop import ServoLoop, publish

from dvla.runtime.arm import ArmController
from dvla.runtime.interlocks import ArmBounds, Interlocks
from dvla.runtime.messages import Command, FollowRequest, HoldRequest, ShutdownRequest
from dvla.runtime.robots.base import ArmReading
from dvla.runtime.robots.piper.limits import PIPER_LIMITS

pytest.importorskip("can", reason="python-can is not installed")
pytest.importorskip("mujoco")
from piper_rig import MS, PiperRig

Wire = Callable[[int, Command, int], list[tuple[int, Command]]]


class WatchedDriver(LaggingDriver):
    """The rig's driver, with everything that it was sent."""

    def __init__(self, rig: PiperRig) -> None:
        super().__init__()
        self.rig = rig

    def read(self, now_ns: int) -> ArmReading:
        return self.rig.driver.read(now_ns)

    def command(self, setpoint: np.ndarray, now_ns: int) -> None:
        super().command(setpoint, now_ns)
        self.rig.driver.command(setpoint, now_ns)

    def close(self) -> None:
        self.rig.driver.close()


class PiperLoop(ServoLoop):
    """Servo, wire, controller, driver, bus and arm, all under one clock."""

    def __init__(self, rig: PiperRig, wire: Wire | None = None) -> None:
        super().__init__(arm_period_ns=4 * MS, limits=PIPER_LIMITS, wire=wire)
        self.rig = rig
        self.now_ns = rig.now_ns
        self.events = EventList()
        self.driver = WatchedDriver(rig)
        self.arm = ArmController(self.driver, PIPER_LIMITS, self.events, self.now_ns, session=1)

    def _arm_tick(self) -> None:
        self.rig.arm.step(self.now_ns)
        super()._arm_tick()

    def pose(self) -> np.ndarray:
        return np.array(self.arm.state(self.now_ns).measured)

    def play(self, velocity: tuple[float, float, float], rows: int) -> None:
        """Publish a straight way from the commanded pose."""
        path = np.repeat(np.array(self.arm.state(self.now_ns).commanded)[None], rows, axis=0)
        path[:, :3] += np.arange(rows)[:, None] * 0.04 * np.asarray(velocity)
        publish(self.stream, path, self.now_ns, t_obs_ns=self.now_ns)


@pytest.fixture
def make_loop() -> Iterator[Callable[..., PiperLoop]]:
    loops: list[PiperLoop] = []

    def make(wire: Wire | None = None, **options: object) -> PiperLoop:
        loops.append(PiperLoop(PiperRig(**options).take_over(), wire))
        loops[-1].lease()
        loops[-1].run(0.1)
        return loops[-1]

    yield make
    for loop in loops:
        loop.rig.close()
        for id_, data in loop.rig.arm.received:
            assert id_ != 0x471 or data[1] == 2, "a motor was disabled"


def test_a_trajectory_is_followed_and_nothing_is_refused(make_loop) -> None:
    loop = make_loop()
    start = loop.pose()
    loop.play((0.02, 0.10, -0.03), 30)
    loop.run(1.1)
    assert np.linalg.norm(loop.pose()[:3] - start[:3]) > 0.1
    loop.run(0.6)
    state = loop.arm.state(loop.now_ns)
    assert loop.rejected == {} and state.mode == "follow"
    assert state.tracking_m < 2e-3 and state.tracking_rad < 0.02
    assert_inside(loop.driver, PIPER_LIMITS)


def test_a_seam_of_56_mm_gives_no_violation_and_no_rejection(make_loop) -> None:
    loop = make_loop()
    loop.play((0.1, 0.2, 0.05), 20)
    loop.run(0.4)
    path = np.repeat(np.array(loop.arm.state(loop.now_ns).commanded)[None], 20, axis=0)
    path[:, :3] += 0.056 * np.array([0.0, -0.6, 0.8])
    publish(loop.stream, path, loop.now_ns, t_obs_ns=loop.now_ns - 200 * MS, chunk=1)
    loop.run(0.7)
    assert loop.rejected == {} and loop.arm.mode == "follow"
    assert loop.events.modes() == ["hold", "follow"]
    assert_inside(loop.driver, PIPER_LIMITS)


def test_a_hold_stops_the_arm_and_keeps_it_there(make_loop) -> None:
    loop = make_loop()
    loop.play((0.1, 0.15, 0.05), 40)
    loop.run(0.5)
    loop.arm.handle(HoldRequest(session=99, sequence=1, reason="look"), loop.now_ns)
    loop.run(0.6)
    assert loop.arm.mode == "hold"
    rest = loop.rig.true_q()
    loop.run(0.5)
    assert np.abs(loop.rig.true_q() - rest).max() < 1e-3
    assert all(loop.rig.arm.enabled)
    assert_inside(loop.driver, PIPER_LIMITS)


def test_a_silent_commander_is_stopped(make_loop) -> None:
    loop = make_loop()
    loop.play((0.1, 0.15, 0.05), 40)
    loop.run(0.4)
    loop.servo_alive = False
    loop.run(0.6)
    assert loop.arm.mode == "hold" and "stopping" in loop.events.modes()
    assert_inside(loop.driver, PIPER_LIMITS)


def test_frozen_feedback_stops_the_arm_before_it_is_a_fault(make_loop) -> None:
    loop = make_loop()
    loop.play((0.1, 0.15, 0.05), 40)
    loop.run(0.4)
    loop.rig.arm.wrong.silent = {0x2A5}
    loop.run(0.16)
    assert loop.arm.mode == "stopping"
    assert loop.arm.state(loop.now_ns).reason == "arm state is stale"
    loop.run(0.5)
    state = loop.arm.state(loop.now_ns)
    assert state.mode == "fault" and "no feedback of the joints" in state.reason


def test_an_arm_that_does_not_move_is_noticed(make_loop) -> None:
    loop = make_loop()
    loop.arm._player._interlocks = Interlocks(ArmBounds(tracking_m=0.05))
    loop.rig.arm.wrong.lag_s = 20.0
    loop.play((0.15, 0.2, 0.0), 40)
    loop.run(1.2)
    reasons = [e.reason for e in loop.events.events if getattr(e, "mode", "") == "stopping"]
    assert any("from its command" in reason for reason in reasons)


def test_a_fault_commands_nothing_and_its_end_starts_no_motion(make_loop) -> None:
    loop = make_loop()
    loop.play((0.1, 0.15, 0.05), 15)
    loop.run(0.5)
    loop.rig.arm.control = TEACHING
    loop.run(0.1)
    assert loop.arm.mode == "fault"
    assert "teaching" in loop.arm.state(loop.now_ns).reason
    loop.rig.arm.control = 0  # a person lets go of it, somewhere else
    loop.rig.arm.q = READY + 0.1
    loop.run(0.3)
    request = FollowRequest(session=loop.session, sequence=5)
    reply = loop.arm.handle(request, loop.now_ns)
    assert not reply.ok and "teaching" in reply.text
    before = loop.rig.true_q()
    loop.rig.driver.engage(loop.now_ns)
    loop.run(0.5)
    assert np.abs(loop.rig.true_q() - before).max() < 1e-3
    assert loop.arm.handle(request, loop.now_ns).ok
    loop.run(0.5)
    assert np.abs(loop.rig.true_q() - before).max() < 5e-3


def test_a_shutdown_leaves_the_arm_in_hold(make_loop) -> None:
    loop = make_loop()
    loop.play((0.1, 0.15, 0.05), 40)
    loop.run(0.5)
    loop.arm.handle(ShutdownRequest(session=3, sequence=1), loop.now_ns)
    loop.run(0.6)
    assert loop.arm.mode == "shutdown"
    rest = loop.rig.true_q()
    loop.arm.close()
    for _ in range(100):
        loop.rig.wait()
    assert np.abs(loop.rig.true_q() - rest).max() < 1e-3
    assert all(loop.rig.arm.enabled) and not loop.rig.arm.fell


@pytest.mark.parametrize("drop_share", [0.0, 0.1])
def test_hostile_commands_never_reach_the_bus(make_loop, drop_share: float) -> None:
    def wire(index: int, command: Command, sent_ns: int) -> list[tuple[int, Command]]:
        rows = np.array(command.setpoints_array())
        if index % 7 == 3:
            rows[index % len(rows), index % 8] = np.nan
        if index % 7 == 5:
            rows[:, :3] += 5.0
        spoilt = msgspec.structs.replace(command, setpoints=rows.tobytes())
        return [(sent_ns + MS, spoilt)]

    loop = make_loop(wire)
    loop.rig.arm.wrong.drop_share = drop_share
    loop.play((0.1, 0.15, 0.05), 40)
    loop.run(1.5)
    assert set(loop.rejected) >= {"non_finite", "workspace"}, loop.rejected
    assert_inside(loop.driver, PIPER_LIMITS)
    for id_, data in loop.rig.arm.received:
        if 0x155 <= id_ <= 0x157:
            at = 2 * (id_ - 0x155)
            target = np.radians(np.array(struct.unpack(">ii", data)) / 1e3)
            assert (target >= LOWER[at : at + 2]).all() and (target <= UPPER[at : at + 2]).all()
