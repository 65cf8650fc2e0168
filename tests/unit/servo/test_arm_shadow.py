"""Shadow, execution and resumed holds: what reaches a driver, for whom, and from where."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from arm_doubles import HOME, LIMITS, MS, EventList, LaggingDriver, assert_inside
from hypothesis import given, settings
from hypothesis import strategies as st
from servo_rig import Commander

from dvla.runtime.arm import ArmController
from dvla.runtime.errors import RobotFault
from dvla.runtime.messages import (
    ExecuteRequest,
    FollowRequest,
    HoldRequest,
    LeaseRelease,
    ResumeRequest,
)
from dvla.runtime.robots.base import ArmReading


class TakenOver(LaggingDriver):
    """An arm that has to be taken over first, which takes some readings; or that refuses."""

    def __init__(self, readings: int = 5, refusal: str = "") -> None:
        super().__init__()
        self.left, self.refusal, self.engaging = readings, refusal, False

    def engage(self, now_ns: int) -> None:
        if self.refusal:
            raise RobotFault(self.refusal)
        self.engaging = True

    def read(self, now_ns: int) -> ArmReading:
        self.left -= self.engaging and self.left > 0
        standby = "not taken over" if self.left else ""
        return msgspec.structs.replace(super().read(now_ns), standby=standby)

    def command(self, setpoint: Any, now_ns: int) -> None:
        assert not self.left, "commanded before it was taken over"
        super().command(setpoint, now_ns)


def rig(driver: LaggingDriver | None = None) -> Commander:
    return Commander(driver=driver or LaggingDriver(), shadow=True)


def test_a_shadow_judges_and_plays_and_sends_nothing() -> None:
    arm = rig().moving()
    state = arm.state()
    assert state.shadow and state.mode == "follow" and state.accepted > 90
    assert np.linalg.norm(np.subtract(state.commanded[:3], HOME[:3])) > 0.05
    assert arm.driver.sent == []
    assert state.measured[:3] == pytest.approx(HOME[:3])
    rows = np.repeat(HOME[None] + [2.0, 0, 0, 0, 0, 0, 0, 0], 25, axis=0)
    assert arm.send(rows) == "workspace"
    assert arm.state().rejected == {"workspace": 1}


def test_execution_begins_at_the_measured_pose_and_not_where_the_shadow_was() -> None:
    arm = rig().moving()
    stale = arm.command()
    assert arm.ask(ExecuteRequest).ok
    arm.ticks(2)
    state = arm.state()
    assert not state.shadow and state.mode == "hold" and state.reason == "execution begins"
    assert state.commanded == pytest.approx(HOME)
    late = msgspec.structs.replace(stale, sequence=stale.sequence + 9)
    assert arm.arm.on_command(late, arm.now).reason == "epoch"
    arm.path_ns = arm.now
    arm.move(400)
    assert arm.arm.mode == "follow"
    assert np.linalg.norm(arm.driver.sent[-1][1][:3] - HOME[:3]) > 0.05
    assert_inside(arm.driver)


def test_only_the_commander_executes_and_never_over_a_hold() -> None:
    arm = rig()
    assert not arm.ask(ExecuteRequest).ok, "nobody has the lease"
    arm.lease()
    assert not arm.ask(ExecuteRequest, session=99).ok
    arm.ask(HoldRequest, session=99, reason="coffee")
    assert "resume" in arm.ask(ExecuteRequest).text
    arm.ticks(5)
    assert arm.state().shadow and arm.driver.sent == []


def test_an_arm_is_taken_over_before_it_is_commanded() -> None:
    driver = TakenOver()
    arm = rig(driver).moving()
    assert arm.state().mode == "follow", "standby is no fault in shadow"
    assert arm.ask(ExecuteRequest).ok
    arm.ticks(3)
    assert arm.state().shadow and driver.sent == []
    arm.ticks(5)
    assert not arm.state().shadow and driver.sent
    driver.left = 1  # somebody took the arm away again
    driver.engaging = False
    arm.ticks(1)
    assert arm.state().mode == "fault"


def test_an_arm_that_refuses_to_be_taken_over_says_why() -> None:
    arm = rig(TakenOver(refusal="the arm moves at 0.40 rad/s"))
    arm.lease()
    assert "0.40 rad/s" in arm.ask(ExecuteRequest).text
    arm.ticks(5)
    assert arm.state().shadow


def test_the_next_commander_finds_a_shadow_and_an_arm_that_is_kept_where_it_stands() -> None:
    arm = rig().moving()
    arm.ask(ExecuteRequest)
    arm.ticks(2)
    arm.path_ns = arm.now
    arm.move(400)
    assert arm.ask(LeaseRelease).ok
    arm.lease(session=8, holder="run B")
    arm.ticks(600)
    assert arm.state().shadow
    rest = arm.driver.sent[-1][1].copy()
    arm.session, arm.path_ns = 8, arm.now
    arm.move(200, start=np.array(arm.state().commanded))
    assert arm.state().mode == "follow" and arm.state().accepted > 100
    assert np.array_equal(arm.driver.sent[-1][1], rest)
    assert_inside(arm.driver)
    assert arm.ask(ExecuteRequest, session=8).ok
    arm.ticks(2)
    assert not arm.state().shadow


def test_anyone_may_end_a_hold_and_the_arm_goes_on_from_where_it_stands() -> None:
    arm = Commander().moving()
    assert not arm.ask(ResumeRequest, session=99).ok, "there is nothing to end"
    arm.ask(HoldRequest, session=99, reason="coffee")
    assert arm.state().held
    arm.ticks(400)
    assert arm.send() == "hold"
    assert arm.ask(ResumeRequest, session=42).ok
    assert not arm.state().held and arm.arm.mode == "hold"
    assert arm.send() == ""
    assert arm.arm.mode == "follow"
    assert_inside(arm.driver)


def test_a_resume_ends_a_fault_only_when_the_arm_reports_none() -> None:
    arm = Commander().moving()
    arm.driver.fault = "joint 3 over-current"
    arm.ticks(2)
    assert "over-current" in arm.ask(ResumeRequest, session=42).text
    arm.driver.fault = ""
    arm.ticks(1)
    assert arm.ask(ResumeRequest, session=42).ok
    assert arm.arm.mode == "hold"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(["hold", "resume", "release", "lease", "move", "follow", "wait"]),
        max_size=12,
    )
)
def test_nothing_but_a_cleared_session_ever_reaches_the_driver(steps: list[str]) -> None:
    arm = rig()
    for step in steps:
        match step:
            case "hold":
                arm.ask(HoldRequest, session=99, reason="any")
            case "resume":
                arm.ask(ResumeRequest, session=99)
            case "release":
                arm.ask(LeaseRelease)
            case "lease":
                arm.lease()
            case "follow":
                arm.ask(FollowRequest)
            case "move":
                arm.path_ns = arm.now
                arm.move(40, start=np.array(arm.state().commanded))
            case _:
                arm.ticks(150)
    arm.ask(ExecuteRequest, session=99)
    arm.ticks(10)
    assert arm.driver.sent == []


def test_a_controller_without_shadow_is_as_it_was() -> None:
    arm = ArmController(LaggingDriver(), LIMITS, EventList(), 5 * MS, session=1)
    assert not arm.state(5 * MS).shadow
