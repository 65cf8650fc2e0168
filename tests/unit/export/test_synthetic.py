"""Synthetic checkpoints: the same bits everywhere, readable as official ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from golden_model import GOLDEN, TINY, TINY_CHECKPOINT
from tokenizers import Tokenizer

from dvla.engines.errors import UsageError
from dvla.export.checkpoint import load_checkpoint
from dvla.export.config import encode_config
from dvla.export.synthetic import (
    state_dict_sha256,
    synthetic_checkpoint,
    synthetic_config,
    synthetic_state_dict,
    tensor_shapes,
)
from dvla.export.synthetic_weights import BLOCK, synthetic_tensor, unit_noise

MANIFESTS = {"tiny": "tiny_manifest", "full": "manifest"}


@pytest.mark.parametrize("size", ["tiny", "full"])
def test_the_weights_have_the_recorded_checksum(size: str) -> None:
    expected = (GOLDEN / f"{MANIFESTS[size]}.sha256").read_text().strip()
    assert state_dict_sha256(synthetic_state_dict(size)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("size", ["tiny", "full"])
def test_names_shapes_and_order_are_those_of_the_manifest(size: str) -> None:
    entries = json.loads((GOLDEN / f"{MANIFESTS[size]}.json").read_text())["entries"]
    manifest = [(e["key"], (tuple(e["shape"]), e["dtype"] == "int64")) for e in entries]
    assert list(tensor_shapes(size).items()) == manifest  # type: ignore[arg-type]


def test_a_tiny_checkpoint_holds_the_golden_tensors_byte_for_byte(tmp_path: Path) -> None:
    folder = synthetic_checkpoint("tiny", tmp_path)
    weights = (folder / "model.safetensors").read_bytes()
    assert weights == (TINY_CHECKPOINT / "model.safetensors").read_bytes()
    made, golden = load_checkpoint(folder), load_checkpoint(TINY_CHECKPOINT)
    assert (made.config, made.arch) == (golden.config, golden.arch)


def test_the_full_size_config_is_readable_without_arch_json() -> None:
    from dvla.export.arch import infer_arch
    from dvla.export.config import parse_config
    from dvla.export.synthetic import ARCHS

    config = parse_config(encode_config(synthetic_config("full")), "the test")
    shapes = {name: shape for name, (shape, _) in tensor_shapes("full").items()}
    assert infer_arch(shapes, config) == ARCHS["full"]


def test_an_action_scale_gives_actions_of_that_deviation_around_zero(tmp_path: Path) -> None:
    import torch

    from dvla.export.checkpoint import build_policy

    folder = synthetic_checkpoint("tiny", tmp_path, action_scale=(0.005, 0.02))
    policy = build_policy(load_checkpoint(folder))
    frames = TINY.frames(policy.config)
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        ids, state = TINY.tensor("in_tokens"), TINY.tensor("in_state_raw")
        tokens = policy.embed_images(policy.prepare_images(frames))
        embedded, mask = policy.embed_prefix(tokens, ids, ids >= 0, state)
        cache = policy.prefix_cache(embedded, mask)
        noises = torch.randn(16, 1, 20, 32, generator=generator)
        actions = torch.cat(
            [policy.unnormalize_actions(policy.sample_actions(cache, mask, n))[0] for n in noises]
        )
    scale = np.array([0.005] * 3 + [0.02] * 3 + [1.0])
    # One observation is one draw: its mean may be off by half a deviation or so, not by several.
    assert np.all(np.abs(actions.mean(0).numpy()) < scale)
    assert np.all(actions.std(0).numpy() / scale < 1.4)
    assert np.all(actions.std(0).numpy() / scale > 0.6)


@pytest.mark.parametrize("scale", [(0.0, 0.02), (0.005, -1.0), (float("nan"), 0.02)])
def test_an_action_scale_that_is_no_length_is_refused(
    tmp_path: Path, scale: tuple[float, float]
) -> None:
    with pytest.raises(UsageError, match="action scale"):
        synthetic_checkpoint("tiny", tmp_path, action_scale=scale)


def test_an_unknown_size_lists_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Got 'huge'.*Valid: full, tiny"):
        synthetic_checkpoint("huge", tmp_path)  # type: ignore[arg-type]


def test_the_tokenizer_fits_the_vocabulary_and_loses_nothing(tmp_path: Path) -> None:
    folder = synthetic_checkpoint("tiny", tmp_path)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "pick up the red can, then é 罐\n"
    ids = tokenizer.encode(text).ids
    assert len(ids) == len(text.encode())
    assert max(ids) < 512
    assert tokenizer.decode(ids) == text
    assert tokenizer.get_vocab_size() <= 512


def test_a_large_tensor_does_not_depend_on_the_block_it_is_made_in() -> None:
    count = 2 * BLOCK + 17
    made = synthetic_tensor("model.state_proj.weight", (count, 1))
    assert np.array_equal(made.ravel(), unit_noise("model.state_proj.weight", count).astype("f4"))


def test_the_centre_tap_is_the_centre_of_every_kernel() -> None:
    from dvla.export.arch import VISION

    name = f"{VISION}layers.0.0.token_mixer.reparam_conv.weight"
    channels = BLOCK // 9 + 5  # kernels straddle the blocks
    kernels = synthetic_tensor(name, (channels, 1, 3, 3))
    plain = 0.1 * unit_noise(name, kernels.size).reshape(kernels.shape)
    tap = np.rint(kernels - plain)
    expected = np.zeros((3, 3))
    expected[1, 1] = 1.0
    assert np.array_equal(tap, np.broadcast_to(expected, kernels.shape))
