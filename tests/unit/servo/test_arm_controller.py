"""The arm controller: modes, epochs, lease, watchdog, faults; and mutants of its laws."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from arm_doubles import HOME, LIMITS, MS, EventList, LaggingDriver, assert_inside
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import mutant_within
from servo_rig import START, continued
from servo_rig import Commander as Rig

from dvla.runtime import arm as arm_module
from dvla.runtime import arm_motion, arm_player, interlocks, refusals
from dvla.runtime.errors import ConfigError
from dvla.runtime.events import Note
from dvla.runtime.limits import Workspace
from dvla.runtime.messages import (
    MAX_WORDS,
    ExecuteRequest,
    FollowRequest,
    HoldRequest,
    LeaseRelease,
    ResumeRequest,
    ShutdownRequest,
)


def test_the_first_second_of_a_run() -> None:
    rig = Rig()
    assert rig.arm.mode == "idle"
    assert rig.send() == "lease"
    assert rig.lease().ok
    assert rig.arm.mode == "hold"
    assert rig.send() == ""
    assert rig.arm.mode == "follow"
    assert rig.state().accepted == 1
    assert rig.state().rejected == {"lease": 1}
    assert rig.events.modes() == ["hold", "follow"]
    assert rig.events.rejections() == ["lease"]


def test_a_second_commander_is_refused_with_the_holders_name() -> None:
    rig = Rig()
    rig.lease()
    reply = rig.lease(session=8, holder="run B")
    assert not reply.ok
    assert "'run A'" in reply.text
    assert rig.send(session=8) == "lease"
    assert rig.state().lease_session == 7


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('a person, at the "table" (человек)', 'a person, at the "table" (человек)'),
        ("\x1b[31mstop\n\u202enow", "[31mstopnow"),
        ("\x00" * 3900, ""),
        ("x" * 3900, "x" * MAX_WORDS),
    ],
    ids=["words", "control", "nothing", "long"],
)
def test_people_are_told_what_they_can_read(said: str, told: str) -> None:
    rig = Rig()
    rig.lease(holder=said)
    assert f"commanded by {told!r} (" in rig.lease(session=8).text
    rig.ask(HoldRequest, session=99, reason=said)
    told = f"hold: {told or 'requested'}"
    assert rig.state().reason == told and told in rig.ask(ExecuteRequest).text
    assert rig.ask(ResumeRequest, session=99).ok
    notes = [event.text for event in rig.events.events if isinstance(event, Note)]
    assert notes == [f"resumed after {told!r}"]


def test_the_lease_ends_with_silence_and_not_before() -> None:
    rig = Rig()
    rig.lease()
    rig.ticks(999)
    assert not rig.lease(session=8).ok
    rig.ticks(3)
    assert rig.state().lease_session == 0
    assert rig.lease(session=8, holder="run B").ok


def test_releasing_the_lease_stops_the_arm() -> None:
    rig = Rig().moving()
    assert rig.ask(LeaseRelease).ok
    assert rig.arm.mode == "stopping"
    rig.ticks(600)
    assert rig.arm.mode == "idle"
    assert_inside(rig.driver)


def scenario_silence_stops(module: ModuleType) -> None:
    """Silence: the arm plays what it has, stops within limits, and starts a new epoch."""
    rig = Rig(module).moving()
    rig.ticks(80)
    assert rig.arm.mode == "follow"
    rig.ticks(30)
    assert rig.arm.mode == "stopping"
    assert rig.state().arm_epoch == 2
    rig.ticks(400)
    assert rig.arm.mode == "hold"
    rest = rig.driver.sent[-1][1]
    rig.ticks(50)
    assert np.array_equal(rig.driver.sent[-1][1], rest)
    assert np.linalg.norm(rest[:3] - HOME[:3]) > 0.05
    assert_inside(rig.driver)


def scenario_old_epoch_refused(module: ModuleType) -> None:
    """Commands in flight from before a stop are refused without an alarm; new ones restart."""
    rig = Rig(module).moving()
    old = rig.command()
    rig.ticks(600)
    fresh = msgspec.structs.replace(
        rig.command(), arm_epoch=old.arm_epoch, sequence=old.sequence + 5
    )
    assert rig.arm.on_command(fresh, rig.now).reason == "epoch"
    assert rig.events.rejections() == []
    assert rig.send() == ""
    assert rig.arm.mode == "follow"


def scenario_hold_is_kept(module: ModuleType) -> None:
    """A hold by request lasts until the commander asks to be followed."""
    rig = Rig(module).moving()
    assert rig.ask(HoldRequest, session=99, reason="coffee").ok
    assert rig.arm.mode == "stopping"
    rig.ticks(400)
    assert rig.arm.mode == "hold"
    assert rig.state().reason == "hold: coffee"
    assert rig.send() == "hold"
    assert not rig.ask(FollowRequest, session=99).ok
    assert rig.send() == "hold"
    assert rig.ask(FollowRequest).ok
    assert rig.send() == ""


def scenario_stopping_refuses(module: ModuleType) -> None:
    """While the stop runs, nothing is accepted, of the new epoch neither."""
    rig = Rig(module).moving()
    rig.ticks(110)
    assert rig.arm.mode == "stopping"
    assert rig.send() == "stopping"


def scenario_fault_commands_nothing(module: ModuleType) -> None:
    """A fault of the driver: no new motion, until it is gone and the commander asks."""
    rig = Rig(module).moving()
    rig.driver.fault = "joint 3 over-current"
    rig.ticks(1)
    sent = len(rig.driver.sent)
    rig.ticks(50)
    assert rig.arm.mode == "fault"
    assert len(rig.driver.sent) == sent
    assert rig.send() == "fault"
    assert "over-current" in rig.ask(FollowRequest).text
    rig.driver.fault = ""
    rig.driver.setpoint[0] += 0.03
    rig.ticks(1)
    assert rig.arm.mode == "fault"
    assert rig.ask(FollowRequest).ok
    assert np.allclose(rig.state().commanded, rig.state().measured)
    assert rig.send() == ""


def scenario_run_out_stops(module: ModuleType) -> None:
    """A command shorter than the deadline: its end is what stops the arm."""
    rig = Rig(module, command_deadline_s=10.0).moving()
    rig.ticks(80)
    assert rig.arm.mode == "follow"
    rig.ticks(30)
    assert rig.arm.mode == "stopping"
    assert rig.state().reason == "commands ran out"
    rig.ticks(400)
    assert_inside(rig.driver)


def scenario_deadline_stops(module: ModuleType) -> None:
    """A commander that falls silent is not waited for longer than the deadline."""
    rig = Rig(module, command_deadline_s=0.03).moving()
    rig.ticks(40)
    assert rig.arm.mode == "stopping"
    assert rig.state().reason == "no fresh command"


def scenario_stale_reading_stops(module: ModuleType) -> None:
    """An arm that no longer reports is not commanded on."""
    rig = Rig(module).moving()
    rig.driver.frozen_ns = rig.now
    rig.move(112)
    assert rig.arm.mode == "stopping"
    assert rig.state().reason == "arm state is stale"


def scenario_tracking_stops(module: ModuleType) -> None:
    """An arm that does not follow is not driven on."""
    rig = Rig(module, tracking_m=0.02).moving()
    rig.driver.lag_s = 1e9
    rig.move(200)
    assert rig.arm.mode in ("stopping", "hold")
    assert "from its command" in " ".join(
        getattr(event, "reason", "") for event in rig.events.events
    )


SCENARIOS = {
    name.removeprefix("scenario_"): function
    for name, function in list(globals().items())
    if name.startswith("scenario_")
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_law(name: str) -> None:
    SCENARIOS[name](arm_module)


ROOMS = (arm_player, arm_module)
HALT = 'self.epoch += 1\n        self.enter("stopping"'
STANDING = "arm_epoch=self._player.epoch,\n            refused_mode"
REFUSED = '"fault", "shutdown", "stopping"):\n            return'
IN_FAULT = 'if player.mode == "fault":\n            return\n        if player.clearance'
FAULTY = "if wrong:\n            self.fail"
ANY_EPOCH = STANDING.replace("self._player.epoch", "command.arm_epoch")
STRANGER = "elif request.session != self._lease.session or not request.session:"


@pytest.mark.parametrize(
    ("name", "room", "old", "new"),
    [
        ("silence_stops", arm_player, HALT, HALT.replace("+= 1", "+= 0")),
        ("silence_stops", arm_motion, "twist, acceleration, s", "0 * twist, acceleration, s"),
        ("old_epoch_refused", arm_module, STANDING, ANY_EPOCH),
        ("old_epoch_refused", refusals, "if reason in QUIET_REASONS or repeated:", "if repeated:"),
        ("hold_is_kept", arm_module, 'return "hold" if self._hold_reason else ""', 'return ""'),
        ("hold_is_kept", arm_module, STRANGER, "elif False:"),
        ("stopping_refuses", arm_module, REFUSED, REFUSED.replace(', "stopping"', "")),
        ("fault_commands_nothing", arm_module, IN_FAULT, "if player.clearance"),
        ("fault_commands_nothing", arm_player, FAULTY, FAULTY.replace("if wrong", "if False")),
        ("run_out_stops", interlocks, "if now_ns >= end_ns:", "if False:"),
        ("deadline_stops", interlocks, "if now_ns - accepted_ns > bounds", "if 0 > bounds"),
        ("stale_reading_stops", interlocks, "if now_ns - reading.t_ns > bounds", "if 0 > bounds"),
        ("tracking_stops", interlocks, "tracking_m <= bounds.tracking_m and", ""),
    ],
)
def test_a_controller_without_a_law_fails_its_test(
    name: str, room: ModuleType, old: str, new: str
) -> None:
    broken = mutant_within(ROOMS, room, old, new)
    with pytest.raises(AssertionError):
        SCENARIOS[name](broken)


def test_other_sizes_grids_and_gaps_are_refused() -> None:
    rig = Rig().moving()
    assert rig.send(setpoints=b"1234567") == "size"
    assert rig.send(setpoints=b"") == "size"
    assert rig.send(t_due_ns=rig.now + 1) == "grid"
    assert rig.send(period_ns=5 * MS) == "period"
    assert rig.send(t_due_ns=rig.path_ns + 500 * MS) == "gap"
    assert rig.send(t_due_ns=rig.now - 92 * MS, valid_until_ns=rig.now + 1) == "late"
    assert rig.arm.mode == "follow"


def test_shutdown_stops_first_and_refuses_everything_after() -> None:
    rig = Rig().moving()
    assert rig.ask(ShutdownRequest, session=99).ok
    assert rig.arm.mode == "stopping"
    rig.ticks(500)
    assert rig.arm.mode == "shutdown"
    assert rig.send() == "shutdown"
    assert not rig.ask(FollowRequest).ok
    assert not rig.lease().ok
    rig.arm.close()
    assert rig.driver.closed
    assert_inside(rig.driver)


def test_250_refusals_a_second_make_two_events_and_250_counts() -> None:
    rig = Rig()
    rig.lease()
    for _ in range(250):
        rig.send(np.full((25, 8), np.nan))
        rig.ticks(4)
    assert rig.state().rejected == {"non_finite": 250}
    assert rig.events.rejections() == ["non_finite"] * 2


@pytest.mark.parametrize(
    "change",
    [
        {"max_command_age_s": 86_400.0},
        {"max_observation_age_s": float("nan")},
        {"max_start_distance_m": 0.0},
        {"workspace": Workspace(lower=(0.2, 0.0, 0.0), upper=(100.0, 0.5, 0.5))},
        {"workspace": Workspace(lower=(0.2, 0.5, 0.0), upper=(0.7, 0.5, 0.5))},
        {"envelope": msgspec.structs.replace(LIMITS.envelope, linear_velocity=100.0)},
        {"envelope": msgspec.structs.replace(LIMITS.envelope, angular_jerk=-1.0)},
        {"shaper": msgspec.structs.replace(LIMITS.shaper, linear_acceleration=8.1)},
    ],
)
def test_limits_have_bounds_themselves(change: dict[str, Any]) -> None:
    limits = msgspec.structs.replace(LIMITS, **change)
    with pytest.raises(ConfigError, match="Got"):
        arm_module.ArmController(LaggingDriver(), limits, EventList(), START, session=1)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["command", "command", "command", "hold", "follow", "silence", "lease"]),
        st.integers(0, 30),
        st.lists(st.tuples(*[st.floats(-1.0, 1.0)] * 6), min_size=3, max_size=3),
        st.sampled_from([1e-6, 1e-3, 0.05, 1.0]),
        st.integers(-3, 3),
    ),
    max_size=40,
)


@settings(max_examples=120, deadline=None)
@given(steps=STEPS, tick_ms=st.sampled_from([1, 2, 4]))
def test_nothing_over_a_limit_reaches_the_driver_for_arbitrary_streams(
    steps: list[Any], tick_ms: int
) -> None:
    rig = Rig()
    rig.lease()
    for what, wait, shape, scale, shift in steps:
        if what == "command":
            rows = continued(rig, np.array(shape) * scale)
            rig.send(rows, t_due_ns=rig.now // (4 * MS) * 4 * MS + shift * 4 * MS)
        elif what == "hold":
            rig.ask(HoldRequest, reason="test")
        elif what == "follow":
            rig.ask(FollowRequest)
        elif what == "lease":
            rig.lease()
        for _ in range(wait if what != "silence" else 4 * wait):
            rig.arm.tick(rig.now)
            rig.now += tick_ms * MS
    for _ in range(500 // tick_ms):
        rig.arm.tick(rig.now)
        rig.now += tick_ms * MS
    assert_inside(rig.driver)
    assert rig.arm.mode in ("hold", "idle")
