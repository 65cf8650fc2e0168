"""The exported graphs against the golden vectors: keys, values and the actions of a policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from bundle_tools import (
    full_bundle,
    golden_noise,
    golden_observation,
    tiny_bundle,
)
from golden_model import TINY, TINY2, TINY_CHECKPOINT, Golden, full_golden, relative_error

from dvla.engines.bundle import read_bundle
from dvla.engines.onnxruntime_ import OnnxRuntimeEngine
from dvla.engines.pipeline import ActionPipeline
from dvla.export.arch import Crop
from dvla.export.checkpoint import load_policy
from dvla.export.model.images import prepare_images
from dvla.export.model.policy import DynamicVla
from dvla.export.resize import resize_matrices
from dvla.export.synthetic import synthetic_policy_config
from dvla.export.unroll import varying_values
from dvla.runtime.policy import Policy

LIMIT = 1e-5


@pytest.fixture(scope="module")
def policy() -> DynamicVla:
    return load_policy(TINY_CHECKPOINT)


@pytest.fixture(scope="module")
def exported() -> Policy:
    return Policy.load(tiny_bundle())


def wrapped_difference(actions: Any, expected: Any) -> Any:
    """Return actions - expected with rx and rz compared as angles: a turn apart is the same."""
    difference = np.asarray(actions, np.float64) - expected
    for column in (3, 5):
        turns = np.round(difference[:, column] / (2 * np.pi))
        difference[:, column] -= 2 * np.pi * turns
    return difference


@pytest.mark.parametrize("golden", [TINY, TINY2], ids=["9 tokens", "5 tokens"])
def test_actions_are_the_references(golden: Golden, exported: Policy, policy: DynamicVla) -> None:
    observation = golden_observation(golden, exported.facts.cameras, policy.config)
    chunk = exported.predict(observation, noise=golden_noise(golden))
    expected = golden["actions_absolute"][0]
    error = np.abs(wrapped_difference(chunk.actions, expected)).max()
    assert error / np.abs(expected).max() <= LIMIT
    assert chunk.t_obs_ns == 123
    assert chunk.control_period_s == 0.04
    near_state = chunk.actions[:, [3, 5]] - observation.state[-1][[3, 5]]
    assert np.abs(near_state).max() <= np.pi + 1e-5


def test_the_prefix_graph_gives_the_references_keys_and_values(policy: DynamicVla) -> None:
    bundle = read_bundle(tiny_bundle())
    golden = TINY
    tokens = golden["in_tokens"][0]
    token_mask = np.arange(48) < len(tokens)
    frames = golden.frames(policy.config)
    with OnnxRuntimeEngine(bundle.graph("prefix"), bundle.onnx_path("prefix")) as prefix:
        cache = prefix.run(
            {
                "frames": np.concatenate([f.numpy() for f in frames.values()]),
                "token_ids": np.pad(tokens, (0, 48 - len(tokens))),
                "token_mask": token_mask,
                "state": golden["in_state_raw"][0, -1],
            }
        )
    n_image_tokens = cache["keys"].shape[2] - 49
    valid = np.concatenate([np.ones(n_image_tokens, bool), token_mask, [True]])
    expert = policy.model.vlm_with_expert.lm_expert
    for index, layer in enumerate(expert.layers):
        keys = cache["keys"][index].swapaxes(0, 1)[valid]
        values = cache["values"][index].swapaxes(0, 1)[valid]
        expected_values = torch.from_numpy(golden[f"kv{index}_v"][0])
        if not expert.is_joint(index):
            projected = layer.self_attn.v_proj(expected_values.flatten(1))
            expected_values = projected.reshape(expected_values.shape)
        assert relative_error(keys, golden[f"kv{index}_k"][0]) <= LIMIT
        assert relative_error(values, expected_values.detach()) <= LIMIT


def test_what_stands_in_the_padding_changes_nothing() -> None:
    bundle = read_bundle(tiny_bundle())
    pipeline = ActionPipeline.of_bundle(bundle, OnnxRuntimeEngine)
    pipeline.load()
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, bundle.graph("prefix").inputs[0].shape, np.uint8)
    state, noise = np.ones(6, np.float32), random.standard_normal((20, 32), np.float32)
    token_mask = np.arange(48) < 7
    results = [
        pipeline.run(frames, np.where(token_mask, 5, filler), token_mask, state, noise)
        for filler in (0, 211)
    ]
    longer = pipeline.run(frames, np.full(48, 5), np.arange(48) < 8, state, noise)
    pipeline.close()
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(longer - results[0]).max() > 1e-4


@pytest.mark.parametrize("crop", [Crop(), Crop(top=0.3, left=0.06, right=0.94)])
@pytest.mark.parametrize(
    ("camera", "feature", "square"),
    [
        ((90, 120), (90, 120), (128, 128)),
        ((360, 480), (360, 480), (384, 384)),
        ((480, 640), (360, 480), (384, 384)),
        ((60, 50), (90, 120), (128, 96)),
        ((31, 77), (77, 31), (64, 64)),
    ],
)
def test_two_matrices_resize_and_pad_as_torch_does(
    camera: tuple[int, int], feature: tuple[int, int], square: tuple[int, int], crop: Crop
) -> None:
    frames = torch.randint(0, 256, (1, 2, *camera, 3), dtype=torch.uint8)
    rows, columns = resize_matrices(camera, feature, square, crop)
    planes = frames[0].movedim(-1, 1).flatten(0, 1).float() / 255.0
    got = (rows @ planes @ columns) * 2.0 - 1.0
    assert relative_error(got, prepare_images(frames, feature, square, crop)[0]) <= 2e-6


def test_unrolling_shares_weights_and_hoists_what_does_not_vary() -> None:
    import onnx

    folder = tiny_bundle() / "onnx"
    step = onnx.load(str(folder / "step.onnx"), load_external_data=False)
    denoise = onnx.load(str(folder / "denoise.onnx"), load_external_data=False)
    varying = varying_values(step.graph.node, {"x", "time_bias"})
    in_step = sum(bool(varying.intersection(node.output)) for node in step.graph.node)
    hoisted = len(step.graph.node) - in_step
    assert hoisted > 0
    guide = 8 + 10 * 4 - 2  # Before the first step, and after each; at time 0 no noise is left.
    assert len(denoise.graph.node) == hoisted + 10 * (in_step + 2) + guide + 3
    assert not (folder / "denoise.onnx.data").exists()
    external = [i for i in denoise.graph.initializer if i.external_data]
    assert {
        entry.value for i in external for entry in i.external_data if entry.key == "location"
    } == {"step.onnx.data"}
    assert {opset.version for opset in denoise.opset_import} == {20}
    prefix = str(folder / "prefix.onnx")
    assert "BatchNormalization" not in {
        node.op_type for node in onnx.load(prefix, load_external_data=False).graph.node
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_full_size_exports_and_gives_the_references_actions() -> None:
    # An export writes no bundle that does not pass, and no engine loads that did not.
    exported = Policy.load(full_bundle())
    golden = full_golden()
    config = synthetic_policy_config("full")
    observation = golden_observation(golden, exported.facts.cameras, config)
    chunk = exported.predict(observation, noise=golden_noise(golden))
    exported.close()
    expected = golden["actions_absolute"][0]
    assert (
        np.abs(wrapped_difference(chunk.actions, expected)).max() <= 1e-4 * np.abs(expected).max()
    )
