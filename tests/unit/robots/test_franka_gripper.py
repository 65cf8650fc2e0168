"""The Franka Hand's decisions: each stands until the next one, whatever the hand makes of it."""

from __future__ import annotations

import pytest
from fake_franka import FakeHand

from dvla.runtime.gripper import CLOSED, OPEN
from dvla.runtime.robots.fci.gripper import RETRY_STEPS, GripperThread


class Rig:
    """A hand under the thread's steps."""

    def __init__(self) -> None:
        self.hand = FakeHand()
        self.hand.thing_m = 0.03
        self.gripper = GripperThread(self.hand, start=False)

    def calls(self, opening: float, steps: int) -> list[str]:
        """Want an opening for some steps; returns the calls that it led to."""
        before = len(self.hand.calls)
        for _ in range(steps):
            self.gripper.want(opening)
            self.gripper.step()
        return self.hand.calls[before:]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_decision_is_one_call(rig: Rig) -> None:
    assert rig.calls(0.3, 100) == [], "an opening as found is no decision"
    assert rig.calls(CLOSED, 100) == ["grasp"]
    assert rig.calls(OPEN, 100) == ["move"]
    assert rig.gripper.problem == ""


def test_a_grasp_that_failed_is_tried_again_for_as_long_as_closed_is_wanted(rig: Rig) -> None:
    rig.hand.holds = False
    assert rig.calls(CLOSED, 1) == ["grasp"]
    assert "closing did not succeed" in rig.gripper.problem
    assert rig.calls(CLOSED, RETRY_STEPS) == []
    assert rig.calls(CLOSED, 1) == ["grasp"]
    rig.hand.holds = True
    assert rig.calls(CLOSED, 10 * RETRY_STEPS) == ["grasp"]
    assert rig.gripper.problem == ""


def test_after_a_failed_grasp_it_opens_and_closes_at_once(rig: Rig) -> None:
    rig.hand.holds = False
    assert rig.calls(CLOSED, 2) == ["grasp"]
    assert rig.calls(OPEN, 5 * RETRY_STEPS) == ["move"], "nobody wants it closed any more"
    assert rig.gripper.opening == 1.0
    rig.hand.holds = True
    assert rig.calls(CLOSED, 1) == ["grasp"]


def test_what_slips_out_of_the_hand_has_it_go_on_closing(rig: Rig) -> None:
    assert rig.calls(CLOSED, 10) == ["grasp"]
    rig.hand.grasped = False
    rig.hand.thing_m = 0.0
    assert rig.calls(CLOSED, RETRY_STEPS + 2) == ["grasp"]
    assert rig.hand.width == 0.0
    rig.hand.grasped = False
    assert rig.calls(CLOSED, 10 * RETRY_STEPS) == [], "shut is as closed as it gets"


def test_a_call_that_got_lost_is_made_again(rig: Rig) -> None:
    rig.hand.width, rig.hand.lost = 0.01, "connection timed out"
    assert rig.calls(OPEN, 2) == ["move"]
    assert rig.gripper.problem == "connection timed out" and rig.gripper.opening < 0.0
    assert rig.calls(OPEN, 2 * RETRY_STEPS) == ["move"]
    assert rig.gripper.opening == 1.0 and rig.gripper.problem == ""


def test_a_reset_forgets_what_was_wanted(rig: Rig) -> None:
    rig.hand.holds = False
    assert rig.calls(CLOSED, 1) == ["grasp"]
    rig.gripper.reset()
    assert rig.calls(0.0, 10 * RETRY_STEPS) == []
