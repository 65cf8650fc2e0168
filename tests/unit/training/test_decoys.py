"""Decoys: the arm goes for another thing first, and what is recorded is right all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.runtime.twin.scenes.choice import SceneChoice
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.scenes.spec import SceneSpec
from dvla.runtime.twin.snapshot import TwinSnapshot
from dvla.runtime.twin.world import TwinWorld, WorldConfig
from dvla.training.cli_collect import collect_command
from dvla.training.collect.record import DECOY_S, Plan, Recorder, draw_plan

CHOICE = SceneChoice(family="training", task="pick")
LEAD_S = 0.8


def still_scene() -> SceneSpec:
    """Return the first scene of two things that stand still, well apart."""
    for seed in range(100_000, 101_000):
        spec = draw_scene(seed, CHOICE)
        if len(spec.things) == 2 and not spec.pushes and not any(t.speed for t in spec.things):
            first, second = (np.array(thing.position) for thing in spec.things)
            if np.linalg.norm(first - second) > 0.25:
                return spec
    raise AssertionError("no such scene among a thousand")


def record(
    spec: SceneSpec, choice: SceneChoice = CHOICE, **how: Any
) -> tuple[str, NDArray[np.void]]:
    def picture(snapshot: TwinSnapshot, camera: str) -> NDArray[np.uint8]:
        return np.zeros((36, 48, 3), np.uint8)

    def spot(snapshot: TwinSnapshot, camera: str, thing: int) -> NDArray[np.float64]:
        return np.full(2, np.nan)

    plan = Plan(seed=spec.seed, controller="expert", latency_ms=0.0, ci=True, laas=True, **how)
    world = TwinWorld(WorldConfig(scene=choice))
    info, steps = Recorder(world, picture, spot, max_s=2.0, scene=choice).record(plan)
    return info.controller, steps


def nearer(spec: SceneSpec, hand: NDArray[np.float32]) -> int:
    """Return the thing that a hand is nearer to on the table."""
    apart = [np.linalg.norm(hand[:2] - thing.position) for thing in spec.things]
    return int(np.argmin(apart))


def test_the_hand_is_led_astray_and_comes_back_while_the_answer_is_always_right() -> None:
    spec = still_scene()
    controller, steps = record(spec, decoy=True, take_over_s=LEAD_S)
    assert controller == "expert after a decoy"
    hand, answer = steps["state"][:, :3], steps["actions"]
    led = round(LEAD_S / 0.04)
    assert nearer(spec, hand[led]) == 1 and nearer(spec, hand[-1]) == 0
    # Wherever the hand is led, the answer goes to what is meant.
    aim = np.array(spec.things[0].position)
    apart = np.linalg.norm(answer[:led, :, :2] - aim, axis=2)
    assert (apart[:, -1] < apart[:, 0]).all()
    assert np.allclose(steps["object"][:led, :2], aim, atol=0.02)
    straight, without = record(spec)
    assert straight == "expert" and nearer(spec, without["state"][led, :3]) == 0


def test_a_thing_that_is_alone_has_no_decoy() -> None:
    alone = next(
        spec
        for spec in (draw_scene(seed, CHOICE) for seed in range(100_000, 101_000))
        if len(spec.things) == 1
    )
    controller, led = record(alone, decoy=True, take_over_s=LEAD_S)
    _, straight = record(alone)
    assert controller == "expert"
    near = np.linalg.norm(led["state"][:20, :3] - straight["state"][:20, :3], axis=1)
    assert near.max() < 0.05  # both are disturbed, each by its own noise


def test_of_two_in_order_the_second_is_a_decoy_too() -> None:
    choice = SceneChoice(family="training", task="long")
    spec = next(
        spec
        for spec in (draw_scene(seed, choice) for seed in range(100_000, 101_000))
        if len(spec.things) == 2 and not any(thing.speed for thing in spec.things)
    )
    controller, steps = record(spec, choice, decoy=True, take_over_s=LEAD_S)
    assert controller == "expert after a decoy"
    led = round(LEAD_S / 0.04)
    assert nearer(spec, steps["state"][led, :3]) == 1
    first = np.array(spec.things[0].position)
    assert np.allclose(steps["object"][:led, :2], first, atol=0.02)


def test_plans_with_decoys_are_the_others_plans_but_for_them() -> None:
    seeds = range(100_000, 100_300)
    plans = [draw_plan(seed, "expert", 0.67) for seed in seeds]
    led = [plan for plan in plans if plan.decoy]
    assert 0.55 < len(led) / len(plans) < 0.8
    times = [plan.take_over_s for plan in led]
    assert all(s is not None and DECOY_S[0] <= s <= DECOY_S[1] for s in times)
    straight = [plan for plan in plans if not plan.decoy]
    assert straight == [draw_plan(plan.seed, "expert") for plan in straight]
    assert not any(draw_plan(seed, "some.bundle", 1.0).decoy for seed in seeds)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"decoys": -0.1}, "--decoys is out of bounds"),
        ({"decoys": float("nan")}, "--decoys is out of bounds"),
        ({"decoys": 0.5, "format": "lerobot-v3.0"}, "leads the expert astray"),
        ({"decoys": 0.5, "policy": "some.bundle"}, "leads the expert astray"),
        ({"decoys": 0.5, "scenes": "plain"}, "the plain scene has one"),
    ],
)
def test_decoys_that_cannot_be_are_refused(
    asked: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=told):
        collect_command(tmp_path / "out", episodes=1, **({"scenes": "training"} | asked))
    assert not (tmp_path / "out").exists()
