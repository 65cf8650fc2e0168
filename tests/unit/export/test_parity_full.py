"""The full-size policy (430 M synthetic weights) against the reference: at most 1e-4 everywhere."""

from __future__ import annotations

import pytest
import torch
from golden_model import full_golden, stage_errors

from dvla.export.checkpoint import empty_policy
from dvla.export.synthetic import ARCHS, synthetic_policy_config, synthetic_state_dict

LIMIT = 1e-4
NOT_STAGES = {
    "in_tokens",
    "in_state_raw",
    "in_noise",
    "eager_seconds_with_hooks",
    "max_abs_diff_vs__get_action_chunk",
}


@pytest.mark.slow
def test_every_stage_of_the_full_size_agrees_with_the_reference() -> None:
    policy = empty_policy(synthetic_policy_config("full"), ARCHS["full"])
    weights = {name: torch.from_numpy(tensor) for name, tensor in synthetic_state_dict("full")}
    policy.load_state_dict(weights, assign=True)
    policy.eval().requires_grad_(False)
    golden = full_golden()
    errors = dict(stage_errors(policy, golden))
    over = {name: error for name, error in errors.items() if not error <= LIMIT}
    assert not over
    assert set(errors) == set(golden._arrays.files) - NOT_STAGES
    print({name: f"{error:.1e}" for name, error in errors.items()})
