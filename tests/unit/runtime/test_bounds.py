"""Numbers of a command line: refused before anything starts."""

from __future__ import annotations

import math

import pytest

from dvla.runtime.bounds import MAX_SEED, check_bounds, check_seed
from dvla.runtime.cli.arm_run import run
from dvla.runtime.errors import ConfigError
from dvla.runtime.twin.objects import draw_episode


@pytest.mark.parametrize("seed", [-1, 2**63, 10**23])
def test_an_arm_of_its_own_takes_no_seed_that_its_twin_cannot(seed: int) -> None:
    with pytest.raises(ConfigError, match=r"--seed is out of bounds\. Got .* Expected 0 to "):
        run(sim=True, seed=seed)


def test_every_seed_within_the_bounds_draws_an_episode() -> None:
    for seed in (0, MAX_SEED):
        check_seed(seed)
        assert draw_episode(seed).seed == seed


def test_bounds_are_accepted_and_a_number_that_is_none_is_not() -> None:
    for value in (0, 0.5, 1.0):
        check_bounds("--it", value, 0, 1.0)
    for value in (-0.001, 1.001, math.nan, math.inf):
        with pytest.raises(ConfigError, match=r"--it is out of bounds.*Expected 0 to 1"):
            check_bounds("--it", value, 0, 1.0)
