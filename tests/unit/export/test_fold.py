"""Folding is exact: the folded policy computes what the plain one does."""

from __future__ import annotations

import pytest
import torch
from golden_model import TINY, TINY2, TINY_CHECKPOINT, Golden, relative_error, stage_errors

from dvla.export.checkpoint import load_policy
from dvla.export.fold import fold_batch_norm, fold_policy
from dvla.export.model.fastvit import ConvBn

LIMIT = 1e-5


@pytest.mark.parametrize("golden", [TINY, TINY2], ids=["tiny", "tiny2"])
def test_a_folded_policy_agrees_with_the_reference(golden: Golden) -> None:
    folded = fold_policy(load_policy(TINY_CHECKPOINT))
    # The embedding's scale is inside the image embeddings now, so they alone differ by it.
    moved = {"cam0_img_emb", "cam1_img_emb"}
    errors = {name: e for name, e in stage_errors(folded, golden) if name not in moved}
    assert {"cam0_vision_out", "prefix_embs", "actions_absolute"} <= set(errors)
    assert not {name: error for name, error in errors.items() if not error <= LIMIT}


def test_no_batch_norm_and_no_layer_scale_is_left() -> None:
    folded = fold_policy(load_policy(TINY_CHECKPOINT))
    assert not [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not [name for name in folded.state_dict() if "layer_scale" in name]
    assert folded.vlm.embedding_scale == 1.0


def test_folding_leaves_the_given_policy_alone() -> None:
    policy = load_policy(TINY_CHECKPOINT)
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    folded = fold_policy(policy)
    after = policy.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert folded.model.action_in_proj.weight.data_ptr() == (
        policy.model.action_in_proj.weight.data_ptr()
    ), "unchanged weights are shared, not copied"


def test_a_batch_norm_of_any_statistics_folds() -> None:
    torch.manual_seed(0)
    pair = ConvBn(8).eval()
    with torch.no_grad():
        for tensor in (pair.bn.weight, pair.bn.bias, pair.bn.running_mean):
            tensor.uniform_(-2.0, 2.0)
        pair.bn.running_var.uniform_(1e-3, 10.0)
    x = torch.randn(2, 8, 11, 13)
    with torch.inference_mode():
        assert relative_error(fold_batch_norm(pair)(x), pair(x)) <= 1e-6
