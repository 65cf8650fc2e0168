"""The tiny policy against the reference: every stage, relative error at most 1e-5."""

from __future__ import annotations

import numpy as np
import pytest
from golden_model import TINY, TINY2, TINY_CHECKPOINT, Golden, relative_error, stage_errors

from dvla.export.checkpoint import load_policy
from dvla.export.model.policy import DynamicVla

LIMIT = 1e-5
NOT_STAGES = {"eager_seconds_with_hooks", "max_abs_diff_vs__get_action_chunk"}


@pytest.fixture(scope="module")
def policy() -> DynamicVla:
    return load_policy(TINY_CHECKPOINT)


@pytest.mark.parametrize("golden", [TINY, TINY2], ids=["tiny", "tiny2"])
def test_every_stage_agrees_with_the_reference(policy: DynamicVla, golden: Golden) -> None:
    errors = dict(stage_errors(policy, golden))
    over = {name: error for name, error in errors.items() if not error <= LIMIT}
    assert not over
    assert {"v_t", "actions_padded", "actions_unnorm", "actions_absolute"} <= set(errors)


def test_every_golden_vector_is_compared(policy: DynamicVla) -> None:
    compared = {f"{g.prefix}{name}" for g in (TINY, TINY2) for name, _ in stage_errors(policy, g)}
    inputs = {
        f"{g.prefix}{name}"
        for g in (TINY, TINY2)
        for name in ("in_tokens", "in_state_raw", "in_noise")
    }
    assert set(TINY._arrays.files) == compared | inputs | NOT_STAGES


@pytest.mark.parametrize("golden", [TINY, TINY2], ids=["tiny", "tiny2"])
def test_each_of_the_ten_velocities_agrees(policy: DynamicVla, golden: Golden) -> None:
    import torch

    from dvla.export.model.flow import flow_times

    assert golden["v_t"].shape[0] == 10
    with torch.inference_mode():
        token_ids, state = golden.tensor("in_tokens"), golden.tensor("in_state_raw")
        tokens = policy.embed_images(policy.prepare_images(golden.frames(policy.config)))
        embedded, mask = policy.embed_prefix(tokens, token_ids, token_ids >= 0, state)
        cache = policy.prefix_cache(embedded, mask)
        x = golden.tensor("in_noise")
        for step, flow_time in enumerate(flow_times(10)[:-1]):
            velocity = policy.denoise_step(x, flow_time, cache, mask)
            assert relative_error(velocity, golden["v_t"][step]) <= LIMIT, step
            x = x - 0.1 * velocity


def test_the_error_is_relative_to_the_largest_value() -> None:
    assert relative_error(np.array([1.0, 100.5]), np.array([1.5, 100.0])) == 0.005
