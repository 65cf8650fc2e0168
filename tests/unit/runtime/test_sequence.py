"""The start-up and exit sequence against an arm that does not do what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from arm_doubles import HOME, LIMITS

from dvla.runtime.messages import ArmState, ExecuteRequest, FollowRequest, PaceRequest, Request
from dvla.runtime.phase import Phase
from dvla.runtime.sequence import Sequence, SequenceStopped

MS = 1_000_000
GOAL = (0.5, 0.1, 0.35, 0.0, 1.0, 0.0, 0.0, 1.0)


class Stage:
    """A supervisor, an arm and a clock in one; ``arm`` changes what the arm reports each turn."""

    def __init__(self) -> None:
        self.now_ns = 10**12
        self.done: list[str] = []
        self.ends_after = 10_000
        self.refusal = ""
        self.change: Callable[[ArmState], ArmState] = lambda state: state
        self.state: ArmState | None = ArmState(
            session=1, sequence=1, t_ns=self.now_ns, mode="follow", reason="", arm_epoch=1,
            lease_session=7, command_sequence=0, measured=tuple(HOME), twist=(0.0,) * 6, q=(),
            commanded=tuple(HOME), tracking_m=0.0, tracking_rad=0.0, accepted=0, rejected={},
            shadow=True,
        )  # fmt: skip

    def enter(self, phase: Phase) -> None:
        self.done.append(phase.name)

    def hold(self, reason: str) -> bool:
        self.done.append("hold")
        self.set(mode="hold", held=True)
        return True

    def ask_arm(self, request: Request) -> str:
        if isinstance(request, PaceRequest):
            self.done.append("slow" if request.slow else "not slow")
            return self.refusal
        self.done.append(type(request).__name__)
        if isinstance(request, ExecuteRequest) and not self.refusal:
            self.set(shadow=False)
        if isinstance(request, FollowRequest):
            self.set(mode="follow", held=False)
        return self.refusal

    def turn(self) -> bool:
        self.now_ns += 50 * MS
        self.ends_after -= 1
        if self.state is not None:
            self.set(t_ns=self.now_ns)
            self.state = self.change(self.state)
        return self.ends_after > 0

    def set(self, **fields: Any) -> None:
        if self.state is not None:
            self.state = msgspec.structs.replace(self.state, **fields)

    def sequence(self, goal: tuple[float, ...] = GOAL) -> Sequence:
        return Sequence(
            self, lambda: self.state, self.turn, lambda: self.now_ns,
            session=7, limits=LIMITS, goal=goal, say=lambda line: None,
        )  # fmt: skip

    def walks(self) -> None:
        """From here on the arm goes to the goal in half a second."""
        end_ns = self.now_ns + 500 * MS

        def change(state: ArmState) -> ArmState:
            if self.now_ns < end_ns or state.mode != "follow":
                return state
            return msgspec.structs.replace(state, commanded=GOAL, measured=GOAL)

        self.change = change


def test_the_whole_way() -> None:
    stage = Stage()
    sequence = stage.sequence()
    state = sequence.check_read_only()
    assert "112 mm" in sequence.way(state)
    assert stage.done == [], "read-only checks say nothing to the arm"
    assert sequence.execute()
    stage.walks()
    assert sequence.move(why="to the start pose")
    assert stage.done == ["ExecuteRequest", "slow", "MOVE", "not slow"]
    stage.set(commanded=tuple(HOME), measured=tuple(HOME))
    stage.walks()
    assert sequence.go_back()
    back = ["WAIT", "hold", "slow", "MOVE", "FollowRequest", "slow", "MOVE", "not slow"]
    assert stage.done[4:] == back


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mode": "fault", "reason": "reflex"}, "in fault.*reflex"),
        ({"held": True, "reason": "hold: coffee"}, "somebody holds.*coffee.*dvla-arm resume"),
        ({"measured": (np.nan, *HOME[1:])}, "no finite pose"),
        ({"measured": (1.5, *HOME[1:])}, "outside the workspace.*x = 1.500"),
    ],
)
def test_an_arm_that_is_not_fit_is_not_asked_for_anything(
    fields: dict[str, Any], words: str
) -> None:
    stage = Stage()
    stage.set(**fields)
    with pytest.raises(SequenceStopped, match=words):
        stage.sequence().check_read_only()
    assert stage.done == []


def test_a_controller_that_would_move_the_arm_is_refused_in_shadow() -> None:
    stage = Stage()
    assert stage.sequence().check_read_only(shadow=True).shadow
    stage.set(shadow=False)
    with pytest.raises(SequenceStopped, match=r"not in shadow.*dvla-arm run --shadow"):
        stage.sequence().check_read_only(shadow=True)


def test_a_start_pose_outside_the_workspace_is_refused() -> None:
    stage = Stage()
    with pytest.raises(SequenceStopped, match=r"the start pose is outside.*z = 0\.900"):
        stage.sequence((0.5, 0.1, 0.9, *GOAL[3:])).check_read_only()


def test_a_silent_arm_is_no_arm() -> None:
    stage = Stage()
    stage.state = None
    with pytest.raises(SequenceStopped, match="reports no state"):
        stage.sequence().check_read_only()


def test_a_refusal_is_told() -> None:
    stage = Stage()
    stage.refusal = "the arm moves at 0.40 rad/s"
    with pytest.raises(SequenceStopped, match=r"0\.40 rad/s"):
        stage.sequence().execute()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mode": "fault", "reason": "joint 3"}, "in fault.*joint 3"),
        ({"mode": "hold", "held": True, "reason": "hold: asked by a key"}, "held before.*a key"),
        ({"tracking_m": 0.05}, "does not follow the slow move.*50 mm"),
        ({"tracking_rad": 0.3}, "does not follow the slow move"),
        ({}, "did not complete the move"),
    ],
)
def test_a_move_that_goes_wrong_ends_in_hold(fields: dict[str, Any], words: str) -> None:
    stage = Stage()
    stage.set(shadow=False)
    begun_ns = stage.now_ns

    def change(state: ArmState) -> ArmState:
        late = stage.now_ns > begun_ns + 1000 * MS
        return msgspec.structs.replace(state, **fields) if late else state

    stage.change = change
    with pytest.raises(SequenceStopped, match=words):
        stage.sequence().move(why="to the start pose")
    assert stage.done == ["slow", "MOVE", "hold"], "it is never let go at its own pace again"


def test_an_arm_that_does_not_take_the_slow_limits_is_not_moved() -> None:
    stage = Stage()
    stage.set(shadow=False)
    stage.refusal = "only the commander may ask this"
    with pytest.raises(SequenceStopped, match=r"slow limits.*only the commander"):
        stage.sequence().move(why="to the start pose")
    assert stage.done == ["slow"]


def test_a_signal_ends_the_move_without_an_error() -> None:
    stage = Stage()
    stage.ends_after = 5
    assert not stage.sequence().move(why="to the start pose")


@pytest.mark.parametrize("fields", [{"held": True}, {"mode": "fault"}])
def test_nothing_moves_back_after_a_fault_or_a_hold(fields: dict[str, Any]) -> None:
    stage = Stage()
    stage.set(**fields)
    assert not stage.sequence().go_back()
    assert stage.done == []
