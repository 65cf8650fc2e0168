"""The gripper's decisions over sequences, in the latch and before a driver: hysteresis, dwell."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from arm_doubles import HOME, MS, LaggingDriver, assert_gripper_steady, assert_inside
from arm_doubles import LIMITS as ARM_LIMITS
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import mutant, mutant_within
from servo_rig import Commander

from dvla.runtime import arm as arm_module
from dvla.runtime import arm_motion, arm_player
from dvla.runtime import gripper as gripper_module
from dvla.runtime.limits import GripperLimits
from dvla.runtime.messages import ExecuteRequest, FollowRequest, HoldRequest

LIMITS = GripperLimits()
DWELL_NS = int(LIMITS.dwell_s * 1e9)
openings = st.one_of(
    st.floats(-1.0, 1.0),
    st.floats(-0.15, 0.15),
    st.sampled_from([-1.0, 1.0, LIMITS.hysteresis, -LIMITS.hysteresis, 0.0]),
)
streams = st.lists(st.tuples(openings, st.sampled_from([1, 4, 40, 100, 250])), max_size=60)


def decisions(
    stream: list[tuple[float, int]], found: float, module: ModuleType = gripper_module
) -> list[tuple[int, float, float]]:
    """Return (time, asked, done) of a stream of openings and the milliseconds until the next."""
    latch, now_ns, seen = module.GripperLatch(LIMITS, found), 0, []
    for asked, wait_ms in stream:
        seen.append((now_ns, asked, latch.decide(asked, now_ns)))
        now_ns += wait_ms * MS
    return seen


def assert_laws(seen: list[tuple[int, float, float]], found: float) -> None:
    """Assert hysteresis and dwell, and that a wish that lasts is obeyed."""
    kept = min(gripper_module.FOUND, max(-gripper_module.FOUND, found))
    decided_ns: int | None = None
    for now_ns, asked, done in seen:
        if done != kept:
            assert done in (-1.0, 1.0)
            assert done * asked >= LIMITS.hysteresis, "nobody asked for it firmly"
            assert decided_ns is None or now_ns - decided_ns >= DWELL_NS, "too soon"
            decided_ns, kept = now_ns, done
        elif decided_ns is not None and abs(asked) > LIMITS.hysteresis:
            waits = now_ns - decided_ns < DWELL_NS
            assert done * asked > 0.0 or waits, "a firm wish is not obeyed"


@settings(max_examples=300, deadline=None)
@given(stream=streams, found=st.floats(-1.0, 1.0))
def test_decisions_are_firm_and_far_apart(stream: list[tuple[float, int]], found: float) -> None:
    assert_laws(decisions(stream, found), found)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-0.0999, 0.0999), min_size=1, max_size=200), st.sampled_from([1.0, -1.0]))
def test_what_hovers_about_zero_decides_nothing(noise: list[float], before: float) -> None:
    seen = decisions([(before, 250), *((asked, 50) for asked in noise)], 0.3)
    assert {done for _, _, done in seen} == {before}


@pytest.mark.parametrize("found", [-1.0, -0.97, -0.3, 0.0, 0.43, 0.97, 1.0])
@pytest.mark.parametrize("asked", [-1.0, 1.0])
def test_the_way_from_the_opening_as_found_to_a_decision_decides_nothing_else(
    found: float, asked: float
) -> None:
    latch = gripper_module.GripperLatch(LIMITS, found)
    kept = latch.opening
    seen = {latch.decide(kept, 0)}
    assert seen == {kept} and abs(kept) < 1.0, "who repeats it asks for nothing"
    for share in np.linspace(0.0, 1.0, 9):  # the arm's spline passes through all of it
        seen.add(latch.decide(float(kept + share * (asked - kept)), 1))
    assert seen == {kept, asked}


CHATTER = [(0.11 * (-1) ** number, 10) for number in range(60)]
NOISE = [(1.0, 250), *((-0.05, 10) for _ in range(60))]
CHANGE = [(1.0, 250), (-0.5, 10)]


@pytest.mark.parametrize(
    ("stream", "old", "new"),
    [
        (CHATTER, "or now_ns >= self._free_ns", "or True"),
        (CHATTER, "self._free_ns = now_ns + self._dwell_ns", "self._free_ns = now_ns"),
        (NOISE, "= self._limits.hysteresis, -self._limits.hysteresis", "= 0.0, 0.0"),
        (CHANGE, "elif asked <= self._close_at:", "elif False:"),
    ],
)
def test_a_latch_without_a_law_fails_it(
    stream: list[tuple[float, int]], old: str, new: str
) -> None:
    assert_laws(decisions(stream, 0.3), 0.3)
    with pytest.raises(AssertionError):
        assert_laws(decisions(stream, 0.3, mutant(gripper_module, old, new)), 0.3)


# -- before a driver -----------------------------------------------------------------------------

HALF_OPEN = np.array([*HOME[:7], 0.4])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["play"] * 5 + ["hold", "follow", "silence", "fault", "execute"]),
        st.lists(openings, min_size=1, max_size=4),
        st.integers(1, 40),
    ),
    max_size=25,
)


def play(rig: Commander, columns: list[float], ticks: int) -> None:
    """Command standing still with a gripper that does what it likes, row by row."""
    rows = np.repeat(np.array(rig.state().commanded)[None], 25, axis=0)
    for _ in range(max(1, ticks // 4)):
        rows[:, 7] = np.resize(columns, 25)
        rig.send(rows)
        rig.ticks(4)
        columns = columns[1:] + columns[:1]


def sequence(steps: list[Any], shadow: bool, module: ModuleType = arm_module) -> None:
    """Play a sequence, and judge what the driver was sent."""
    rig = Commander(module, driver=LaggingDriver(HALF_OPEN), shadow=shadow)
    rig.lease()
    for what, columns, ticks in steps:
        if what == "play":
            play(rig, columns, ticks)
        elif what == "hold":
            rig.ask(HoldRequest, reason="test")
        elif what == "follow":
            rig.ask(FollowRequest)
        elif what == "execute":
            rig.ask(ExecuteRequest)
        elif what == "fault":
            rig.driver.fault = "reflex"
            rig.ticks(2)
            rig.driver.fault = ""
            rig.driver.setpoint[7] = 0.2  # a person has had a look at it
            rig.ticks(1)
            rig.ask(FollowRequest)
        rig.ticks(ticks)
    if rig.driver.sent:
        times, rows = rig.driver.rows()
        assert_gripper_steady(times, rows[:, 7], ARM_LIMITS)
        undecided = (np.abs(rows[1:, 7]) < 1.0) & (np.diff(rows[:, 7]) != 0.0)
        looks = sum(what in ("fault", "execute") for what, _, _ in steps)
        assert undecided.sum() <= looks, "an opening that is no decision was sent on"


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, shadow=st.booleans())
def test_what_reaches_a_driver_are_decisions_far_apart_for_arbitrary_sequences(
    steps: list[Any], shadow: bool
) -> None:
    sequence(steps, shadow)


PLAYED: list[Any] = [
    ("play", [1.0], 40),
    ("play", [0.5, -0.6, 0.02], 40),
    ("play", [0.5], 8),
    ("hold", [], 9),
]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self._gripper.decide(float(self.commanded[7]), now_ns)", "self.commanded[7]"),
        ("setpoint[7] = self._gripper.opening", "pass"),
    ],
)
def test_a_motion_that_does_not_decide_fails_it(old: str, new: str) -> None:
    sequence(PLAYED, False)
    with pytest.raises(AssertionError):
        sequence(PLAYED, False, mutant_within((arm_player, arm_module), arm_motion, old, new))


def test_an_arm_that_is_taken_over_keeps_the_grip_it_was_found_with() -> None:
    rig = Commander(driver=LaggingDriver(HALF_OPEN))
    rig.lease()
    for _ in range(100):
        rig.send()
        rig.ticks(4)
    assert {row[7] for _, row in rig.driver.sent} == {0.4}
    play(rig, [-1.0], 40)
    assert [row[7] for _, row in rig.driver.sent][-1] == -1.0


def test_a_stop_and_a_hold_decide_nothing() -> None:
    rig = Commander().moving()
    play_until = rig.now
    rows = np.repeat(np.array(rig.state().commanded)[None], 25, axis=0)
    assert rig.arm.mode == "follow"
    rig.ask(HoldRequest, reason="test")
    rows[:, 7] = -1.0
    rig.send(rows)
    rig.ticks(600)
    assert {row[7] for t_ns, row in rig.driver.sent if t_ns >= play_until} == {1.0}
    assert_inside(rig.driver)
