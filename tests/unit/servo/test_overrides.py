"""Overrides of limits: bounded themselves, written down, and over when their time is."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from arm_doubles import LIMITS, MS, EventList, LaggingDriver
from servo_loop import ServoLoop, publish

from dvla.runtime.arm import ArmController
from dvla.runtime.errors import ConfigError
from dvla.runtime.events import ArmModeChanged, Note
from dvla.runtime.overrides import SafetyOverride, overridden, parse_override

WIDE = SafetyOverride(
    name="envelope.linear_velocity", value=4.0, duration_s=1.0, reason="measuring the stop"
)


def test_an_override_is_read_from_its_text() -> None:
    text = "envelope.linear_velocity=4:1:measuring the stop"
    assert parse_override(text) == WIDE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("envelope.linear_velocity=100:60:fast", "out of bounds"),
        ("envelope.linear_velocity=nan:60:fast", "out of bounds"),
        ("max_observation_age_s=86400:60:slow network", "out of bounds"),
        ("envelope.linear_velocity=4:86400:all day", "no end in sight"),
        ("envelope.linear_velocity=4:0:never", "no end in sight"),
        ("envelope.linear_velocity=4:60:", "gives no reason"),
        ("shaper.linear_velocity=4:60:fast", "names no limit"),
        ("everything=off:60:fast", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_what_is_no_override_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_override(text)


def test_only_the_named_limit_is_another() -> None:
    wide = overridden(LIMITS, (WIDE,))
    assert wide.envelope.linear_velocity == 4.0
    back = msgspec.structs.replace(
        wide, envelope=msgspec.structs.replace(wide.envelope, linear_velocity=1.2)
    )
    assert back == LIMITS


def test_without_an_override_no_limit_passes_its_bound() -> None:
    fast = msgspec.structs.replace(LIMITS.envelope, linear_velocity=4.0)
    with pytest.raises(ConfigError, match="linear_velocity"):
        overridden(msgspec.structs.replace(LIMITS, envelope=fast), ())


def notes(events: EventList) -> list[str]:
    return [event.text for event in events.events if isinstance(event, Note)]


def moving_with(override: SafetyOverride) -> ServoLoop:
    loop = ServoLoop()
    loop.arm = ArmController(
        loop.driver, LIMITS, loop.events, loop.now_ns, session=1, overrides=(override,)
    )
    loop.lease()
    loop.run(0.1)
    start: Any = np.array(loop.arm.state(loop.now_ns).commanded)
    rows = np.repeat(start[None], 60, axis=0)
    rows[:, 1] += 0.004 * np.arange(60)
    publish(loop.stream, rows, loop.now_ns, t_obs_ns=loop.now_ns)
    return loop


def test_when_it_ends_the_arm_stops_and_the_shipped_limits_are_back() -> None:
    loop = moving_with(WIDE)
    # Once when it began, and once to the commander, whose recording began later.
    assert notes(loop.events) == 2 * [f"override: {WIDE.text}"]
    assert 0.0 < loop.arm.state(loop.now_ns).widened[WIDE.name] < WIDE.duration_s
    loop.run(0.8)
    assert loop.arm.mode == "follow"
    assert loop.arm._player.gate.limits.envelope.linear_velocity == 4.0
    loop.run(0.5)
    stops = [e.reason for e in loop.events.events if isinstance(e, ArmModeChanged)]
    assert "an override of the limits has ended" in stops
    assert not loop.arm.state(loop.now_ns).widened
    assert notes(loop.events)[2] == "override ended: envelope.linear_velocity"
    assert loop.arm._player.gate.limits == LIMITS
    loop.run(0.3)
    assert loop.arm.mode == "follow"  # it goes on from rest
    assert set(loop.rejected) <= {"epoch", "stopping"}


def test_an_arm_at_rest_goes_back_to_its_limits_too() -> None:
    driver, events = LaggingDriver(), EventList()
    arm = ArmController(driver, LIMITS, events, 0, session=1, overrides=(WIDE,))
    for t_ms in range(0, 1010, 10):
        arm.tick(t_ms * MS)
    assert arm._player.gate.limits == LIMITS
    assert len(notes(events)) == 2
