"""Servo and arm together: seams are shaped, the wire is unreliable, restarts are continuous."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from arm_doubles import HOME, LIMITS, MS, assert_inside
from hypothesis import given, settings
from hypothesis import strategies as st
from servo_loop import ServoLoop, publish

from dvla.bindings import ActionStream
from dvla.runtime.config import ServoConfig
from dvla.runtime.errors import ConfigError
from dvla.runtime.events import ArmModeChanged
from dvla.runtime.messages import Command, FollowRequest, HoldRequest
from dvla.runtime.servo import ServoCore


def line(start: np.ndarray, velocity: tuple[float, float, float], rows: int) -> np.ndarray:
    """Return rows (n, 8) that leave ``start`` with a constant velocity [m/s]."""
    path = np.repeat(start[None], rows, axis=0)
    path[:, :3] += np.arange(rows)[:, None] * 0.04 * np.asarray(velocity)
    return path


def started(**options: object) -> ServoLoop:
    loop = ServoLoop(**options)  # type: ignore[arg-type]
    loop.lease()
    loop.run(0.1)
    return loop


@pytest.mark.parametrize("arm_period_ms", [1, 2, 4])
def test_a_seam_of_56_mm_gives_no_violation_and_no_rejection(arm_period_ms: int) -> None:
    loop = started(arm_period_ns=arm_period_ms * MS)
    now = loop.now_ns
    publish(loop.stream, line(HOME, (0.15, 0.25, 0.0), 20), now, t_obs_ns=now)
    loop.run(0.4)
    jumped = line(HOME, (0.15, 0.25, 0.0), 30)[10:].copy()
    jumped[:, :3] += 0.056 * np.array([0.0, -0.6, 0.8])
    publish(loop.stream, jumped, loop.now_ns, t_obs_ns=loop.now_ns - 200 * MS, chunk=1)
    loop.run(0.5)
    assert loop.rejected == {}
    assert loop.arm.mode == "follow"
    assert np.linalg.norm(loop.arm.state(loop.now_ns).commanded[:3] - HOME[:3]) > 0.1
    assert_inside(loop.driver)


def test_underrun_stops_by_the_servo_and_stays_in_follow() -> None:
    loop = started()
    now = loop.now_ns
    publish(loop.stream, line(HOME, (0.4, 0.0, 0.0), 10), now, t_obs_ns=now)
    loop.run(1.5)
    assert loop.rejected == {}
    assert loop.arm.mode == "follow"
    assert loop.arm.state(loop.now_ns).arm_epoch == 1
    _, rows = loop.driver.rows()
    assert np.ptp(rows[-200:, :7], axis=0).max() < 1e-9
    assert_inside(loop.driver)


def test_a_silent_servo_is_stopped_and_a_new_one_restarts_from_the_commanded_pose() -> None:
    loop = started()
    now = loop.now_ns
    publish(loop.stream, line(HOME, (0.4, 0.0, 0.0), 20), now, t_obs_ns=now)
    loop.run(0.3)
    loop.servo_alive = False
    loop.run(0.5)
    assert loop.arm.mode == "hold"
    assert "stopping" in loop.events.modes()
    assert loop.arm.state(loop.now_ns).arm_epoch == 2
    loop.run(1.0)
    assert loop.arm.mode == "idle"
    rest = np.array(loop.arm.state(loop.now_ns).commanded)
    loop.servo_alive = True
    loop.new_servo(9)
    loop.lease()
    publish(loop.stream, line(rest, (0.0, 0.3, 0.0), 20), loop.now_ns, t_obs_ns=loop.now_ns)
    loop.run(0.6)
    assert loop.arm.mode == "follow"
    assert loop.rejected == {}
    assert_inside(loop.driver)


def test_a_hold_by_request_lasts_until_follow_is_requested() -> None:
    loop = started()
    now = loop.now_ns
    publish(loop.stream, line(HOME, (0.3, 0.0, 0.0), 60), now, t_obs_ns=now)
    loop.run(0.3)
    loop.arm.handle(HoldRequest(session=99, sequence=1, reason="look"), loop.now_ns)
    loop.run(0.5)
    assert loop.arm.mode == "hold"
    held = np.array(loop.arm.state(loop.now_ns).commanded)
    loop.run(0.3)
    assert np.array_equal(held, loop.arm.state(loop.now_ns).commanded)
    assert loop.events.rejections() == []
    publish(loop.stream, line(held, (0.0, 0.3, 0.0), 20), loop.now_ns, t_obs_ns=loop.now_ns)
    request = FollowRequest(session=loop.session, sequence=2)
    assert loop.arm.handle(request, loop.now_ns).ok
    loop.run(0.4)
    assert loop.arm.mode == "follow"
    assert set(loop.rejected) <= {"epoch", "hold", "stopping"}
    assert loop.arm.state(loop.now_ns).commanded[1] > held[1] + 0.03
    assert_inside(loop.driver)


def test_every_second_command_lost_during_a_seam_costs_nothing() -> None:
    def wire(index: int, command: Command, sent_ns: int) -> list[tuple[int, Command]]:
        return [] if index % 2 else [(sent_ns + 3 * MS, command)]

    loop = started(wire=wire)
    now = loop.now_ns
    publish(loop.stream, line(HOME, (0.15, 0.25, 0.0), 20), now, t_obs_ns=now)
    loop.run(0.404)
    jumped = line(HOME, (0.15, -0.2, 0.2), 30)[10:]
    publish(loop.stream, jumped, loop.now_ns, t_obs_ns=loop.now_ns, chunk=1)
    loop.run(0.5)
    assert loop.rejected == {}
    assert loop.arm.mode == "follow"
    assert_inside(loop.driver)


ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from(["pass", "pass", "pass", "drop", "twice", "late", "mangle"]),
        st.integers(0, 40),
        st.floats(-1.0, 1.0),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(arrivals=ARRIVALS, targets=st.lists(st.tuples(*[st.floats(-0.2, 0.2)] * 3), max_size=5))
def test_nothing_over_a_limit_reaches_the_driver_whatever_the_wire_does(
    arrivals: list[tuple[str, int, float]], targets: list[tuple[float, float, float]]
) -> None:
    def wire(index: int, command: Command, sent_ns: int) -> list[tuple[int, Command]]:
        what, delay_ms, amount = arrivals[index % len(arrivals)]
        if what == "drop":
            return []
        if what == "twice":
            return [(sent_ns + MS, command), (sent_ns + delay_ms * MS, command)]
        if what == "late":
            return [(sent_ns + delay_ms * MS, command)]
        if what == "mangle":
            rows = np.array(command.setpoints_array())
            rows[delay_ms % len(rows) :, :3] += amount
            return [(sent_ns + MS, _with(command, rows))]
        return [(sent_ns + MS, command)]

    loop = started(wire=wire)
    for target in targets:
        rows = line(np.array(loop.arm.state(loop.now_ns).commanded), target, 15)
        publish(loop.stream, rows, loop.now_ns, t_obs_ns=loop.now_ns - 100 * MS)
        loop.run(0.2)
    loop.run(0.3)
    assert_inside(loop.driver)


def _with(command: Command, rows: np.ndarray) -> Command:
    return msgspec.structs.replace(command, setpoints=rows.tobytes())


def test_a_servo_that_skips_two_ticks_stays_on_the_grid() -> None:
    loop = started()
    now = loop.now_ns
    publish(loop.stream, line(HOME, (0.15, 0.25, 0.0), 30), now, t_obs_ns=now)
    for _ in range(20):
        loop.run(0.02)
        loop.servo_alive = False
        loop.run(0.008)
        loop.servo_alive = True
    assert loop.rejected == {}
    assert loop.arm.mode == "follow"
    assert_inside(loop.driver)


def test_a_stop_whose_states_were_lost_voids_the_plan() -> None:
    loop = started()
    now = loop.now_ns
    publish(loop.stream, line(HOME, (0.3, 0.0, 0.0), 60), now, t_obs_ns=now)
    loop.run(0.3)
    assert loop.servo.synchronised
    state = loop.arm.state(loop.now_ns)
    stopped = msgspec.structs.replace(state, mode="hold", arm_epoch=state.arm_epoch + 1)
    for tick in range(1, 6):
        now = loop.now_ns + tick * 4 * MS
        command = loop.servo.tick(now, msgspec.structs.replace(stopped, t_ns=now))
        assert command is not None
        rows = command.setpoints_array()
        assert rows is not None
        assert np.ptp(rows, axis=0).max() == 0.0
        assert np.array_equal(rows[0], stopped.commanded)


def test_an_arm_that_does_not_move_is_stopped_and_named() -> None:
    loop = started()
    loop.driver.lag_s = 1e6
    publish(loop.stream, line(HOME, (0.2, 0.0, 0.0), 40), loop.now_ns, t_obs_ns=loop.now_ns)
    loop.run(0.7)
    assert loop.arm.mode != "follow" or loop.arm.state(loop.now_ns).arm_epoch > 1
    reasons = [e.reason for e in loop.events.events if isinstance(e, ArmModeChanged)]
    assert any(reason.startswith("the arm stalls") for reason in reasons)
    assert_inside(loop.driver)


def test_stale_state_silences_the_servo() -> None:
    loop = started()
    state = loop.arm.state(loop.now_ns)
    assert loop.servo.tick(loop.now_ns + 4 * MS, state) is not None
    assert loop.servo.tick(loop.now_ns + 300 * MS, state) is None
    assert loop.servo.tick(loop.now_ns + 304 * MS, None) is None


def test_states_that_pause_cost_nothing_while_the_arm_still_plays() -> None:
    loop = started()
    now = loop.now_ns
    publish(loop.stream, line(HOME, (0.15, 0.25, 0.0), 30), now, t_obs_ns=now)
    loop.run(0.3)
    loop.state_delay_ns = 240 * MS
    loop.run(0.239)
    loop.state_delay_ns = 2 * MS
    loop.run(0.3)
    assert loop.rejected == {}
    assert loop.arm.mode == "follow"
    assert loop.arm.state(loop.now_ns).arm_epoch == 1
    assert_inside(loop.driver)


@pytest.mark.parametrize(
    "config", [ServoConfig(rate_hz=60, horizon_s=0.05), ServoConfig(rate_hz=1000, horizon_s=0.25)]
)
def test_a_horizon_that_does_not_fit_the_rate_is_refused(config: ServoConfig) -> None:
    with pytest.raises(ConfigError, match="horizon"):
        ServoCore(ActionStream.create(), LIMITS, config, session=7)


@pytest.mark.parametrize("rate_hz", [100, 125, 500, 1000])
def test_other_rates_follow_and_stay_inside(rate_hz: int) -> None:
    loop = ServoLoop(rate_hz=rate_hz)
    loop.lease()
    loop.run(0.1)
    now = loop.now_ns
    publish(loop.stream, line(HOME, (0.15, 0.25, 0.0), 30), now, t_obs_ns=now)
    loop.run(0.6)
    assert loop.rejected == {}
    assert loop.arm.state(loop.now_ns).commanded[1] > 0.1
    assert_inside(loop.driver)
