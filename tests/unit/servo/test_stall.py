"""The stall interlock: an arm that stands still is told from one that lags, turns or trembles."""

from __future__ import annotations

import numpy as np
import pytest

from dvla.runtime.pose import Float64
from dvla.runtime.stall import StallWatch

PERIOD_NS = 4_000_000


def pose(x: float) -> Float64:
    return np.array([x, 0.0, 0.3, 0.0, 1.0, 0.0, 0.0, 1.0])


def watched(commanded: Float64, measured: Float64) -> str:
    """Return what the watch says of two ways (n,) along x, one row per tick."""
    watch, said = StallWatch(), ""
    for tick, (sent, gone) in enumerate(zip(commanded, measured, strict=True)):
        said = said or watch.look(tick * PERIOD_NS, pose(sent), pose(gone))
    return said


TIMES = np.arange(200) * PERIOD_NS * 1e-9
AWAY = 0.2 * TIMES


def test_an_arm_that_does_not_move_stalls_however_it_trembles() -> None:
    tremble = 1e-3 * np.random.default_rng(0).standard_normal(len(TIMES))
    assert "mm of" in watched(AWAY, tremble)


@pytest.mark.parametrize("lag_s", [0.0, 0.05, 0.1])
def test_an_arm_that_lags_does_not(lag_s: float) -> None:
    assert watched(AWAY, np.interp(TIMES - lag_s, TIMES, AWAY)) == ""


def test_nor_one_that_comes_back_after_a_turn() -> None:
    """It was led one way and back; lagging, it is where it was when the window ends."""
    back = np.where(TIMES < 0.1, 0.5 * TIMES, 0.1 - 0.5 * TIMES)
    lagging = np.interp(TIMES - 0.1, TIMES, back)
    end = 75
    assert abs(lagging[end] - lagging[0]) < 0.1 * abs(back[end] - back[0])
    assert abs(back[end] - back[0]) > 0.03
    assert watched(back[: end + 1], lagging[: end + 1]) == ""
