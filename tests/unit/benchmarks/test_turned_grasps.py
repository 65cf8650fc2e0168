"""Where the hand must turn first, it turns one way, and goes down when it has turned."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dvla.benchmarks.dom.episode import ClosedLoop, run_episode
from dvla.benchmarks.dom.latency import Latency
from dvla.benchmarks.dom.result import CellConfig
from dvla.runtime.oracle.policy import OraclePolicy
from dvla.runtime.pose import euler_from_quaternion
from dvla.runtime.twin.scenes.choice import SceneChoice
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.snapshot import TwinSnapshot
from dvla.runtime.twin.world import TwinWorld, WorldConfig

pytest.importorskip("mujoco")
pytest.importorskip("dvla.bindings.servo_planner", reason="bindings are not built")

CHOICE = SceneChoice(family="training", task="pick")
CONFIG = CellConfig(latency=Latency(median_ms=200))
TURNED = math.radians(45)


def lies_across(seed: int) -> bool:
    """Say whether a brick is asked for, and alone, at rest, whose long side points at the arm."""
    spec = draw_scene(seed, CHOICE)
    thing = spec.things[0]
    turned = abs(math.degrees(thing.heading_rad) % 180 - 90)
    still = thing.speed == 0 and not spec.pushes
    return thing.form == "brick" and still and turned < 8 and len(spec.things) < 3


SEEDS = 100_712, 100_797, 101_000, 101_317


@pytest.fixture(scope="module")
def world() -> TwinWorld:
    return TwinWorld(WorldConfig(scene=CHOICE))


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_caught_with_200_ms_of_latency(seed: int, world: TwinWorld) -> None:
    assert lies_across(seed)
    assert run_episode(CONFIG, OraclePolicy(), world, seed).outcome == "success"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_hand_turns_one_way_and_does_not_go_down_beside_itself(
    seed: int, world: TwinWorld
) -> None:
    seen: list[TwinSnapshot] = []
    loop = ClosedLoop(CONFIG, OraclePolicy(), world, seed, watch_exposure=seen.append)
    try:
        loop.run(max_s=2.0)
    finally:
        loop.close()
    yaws = np.unwrap([euler_from_quaternion(each.measured[3:7])[2] for each in seen])
    assert np.ptp(yaws) < math.pi / 2 + TURNED / 2, "not back and forth"
    turned = np.abs(yaws - yaws[0])
    heights = np.array([each.measured[2] for each in seen])
    assert turned.max() > TURNED
    assert heights[turned < TURNED].min() > 0.05


@pytest.fixture(scope="module")
def piper() -> TwinWorld:
    return TwinWorld(WorldConfig(scene=CHOICE, robot="piper"))


@pytest.mark.parametrize(
    ("seed", "kind"), [(110_010, "brick"), (110_016, "box"), (110_017, "can"), (110_062, "bottle")]
)
def test_the_pipers_slower_hand_does_not_grip_askew(seed: int, kind: str, piper: TwinWorld) -> None:
    config = CellConfig(latency=Latency(median_ms=200), robot="piper")
    result = run_episode(config, OraclePolicy(), piper, seed)
    assert (result.kind, result.outcome) == (kind, "success")
