"""The oracle behind eyes that are not perfect: how wrong it sees is what was asked for."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from dvla.engines.errors import UsageError
from dvla.runtime.errors import StaleObservation
from dvla.runtime.observation import Observation
from dvla.runtime.oracle.blurred import Blur, BlurredOracle, displaced, open_policy
from dvla.runtime.oracle.policy import OraclePolicy
from dvla.runtime.policy_entry import open_installed
from dvla.runtime.twin.world import TwinWorld

pytest.importorskip("mujoco")
STEP_NS = 40_000_000


@pytest.fixture(scope="module")
def seen() -> Observation:
    world = TwinWorld()
    world.reset(3, 0)
    return Observation(
        images={}, state=np.zeros((1, 6), np.float32), t_obs_ns=0, privileged=world.snapshot()
    )


def at(seen: Observation, step: int) -> Observation:
    return msgspec.structs.replace(seen, t_obs_ns=step * STEP_NS)


def test_without_blur_it_is_the_oracle(seen: Observation) -> None:
    chunk = BlurredOracle(Blur()).predict(seen, seed=1)
    np.testing.assert_array_equal(chunk.actions, OraclePolicy().predict(seen).actions)


def test_an_episodes_seed_fixes_its_errors_and_reset_forgets_them(seen: Observation) -> None:
    policy = open_installed("blurred-oracle:velocity=200,position=20")
    first = [policy.predict(at(seen, k), seed=k).actions for k in range(4)]
    policy.reset()
    again = [policy.predict(at(seen, k), seed=k).actions for k in range(4)]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], OraclePolicy().predict(seen).actions)
    assert not np.array_equal(first[0], first[1])


def test_errors_have_the_deviation_and_the_correlation_that_were_asked_for() -> None:
    policy = BlurredOracle(Blur(position=8.0, velocity=45.0, correlation=300.0))
    errors = np.array([np.concatenate(policy._errors(k * STEP_NS, k)) for k in range(40_000)])
    np.testing.assert_allclose(errors.std(axis=0), [8.0, 8.0, 45.0, 45.0], rtol=0.05)
    later = [np.corrcoef(errors[:-5, i], errors[5:, i])[0, 1] for i in range(4)]
    np.testing.assert_allclose(later, np.exp(-200 / 300), atol=0.05)


def test_every_object_that_is_there_is_displaced_and_the_truth_stays_as_it_was(
    seen: Observation,
) -> None:
    truth = seen.privileged
    others = truth.others.copy()
    others[0] = 1.0
    truth = msgspec.structs.replace(truth, others=others)
    wrong = displaced(truth, np.array([0.01, -0.02]), np.array([0.1, 0.2]))
    np.testing.assert_allclose(wrong.object_position - truth.object_position, [0.01, -0.02, 0])
    np.testing.assert_allclose(wrong.object_velocity - truth.object_velocity, [0.1, 0.2, 0])
    pose, velocity = wrong.object_at(1)
    np.testing.assert_allclose(pose[:3], [1.01, 0.98, 1.0])
    np.testing.assert_allclose(velocity[:3], [1.1, 1.2, 1.0])
    assert not wrong.others[1:].any()
    np.testing.assert_array_equal(truth.others, others)


@pytest.mark.parametrize(
    "argument",
    ["velocity", "velocity=fast", "speed=3", "velocity=-1", "position=nan", "correlation=0"],
)
def test_a_blur_that_means_nothing_is_refused(argument: str) -> None:
    with pytest.raises(UsageError, match=r"velocity \[mm/s\]") as raised:
        open_policy(argument)
    assert raised.value.exit_code == 2


def test_without_the_truth_it_says_what_it_needs() -> None:
    blind = Observation(images={}, state=np.zeros((1, 6), np.float32))
    with pytest.raises(StaleObservation, match="true state"):
        BlurredOracle(Blur(velocity=1.0)).predict(blind)
