"""The guide in the denoise graph: nothing at zero weights, the torch sampler's at any others."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from bundle_tools import tiny_bundle, tiny_graphs, tokenizer
from golden_model import TINY_CHECKPOINT, relative_error
from numpy.typing import NDArray

from dvla.engines.bundle import REFERENCE_NAME, read_bundle
from dvla.engines.onnxruntime_ import OnnxRuntimeEngine
from dvla.engines.pipeline import ActionPipeline
from dvla.engines.tensors import GraphSpec
from dvla.export import build
from dvla.export.build import ExportOptions, export_bundle
from dvla.export.checkpoint import load_policy
from dvla.export.model.flow import flow_times
from dvla.export.model.policy import DynamicVla
from dvla.export.onnx_export import action_statistics
from dvla.export.progress import Progress
from dvla.export.reference import Reference, load_reference, with_actions
from dvla.export.step_graph import time_biases
from dvla.export.unroll import unroll_denoise

LIMIT = 1e-5


@pytest.fixture(scope="module")
def policy() -> DynamicVla:
    return load_policy(TINY_CHECKPOINT)


@pytest.fixture(scope="module")
def pipeline() -> ActionPipeline:
    loaded = ActionPipeline.of_bundle(read_bundle(tiny_bundle()), OnnxRuntimeEngine)
    loaded.load()
    return loaded


@pytest.fixture(scope="module")
def reference() -> Reference:
    return load_reference(tiny_bundle() / REFERENCE_NAME)


@pytest.fixture(scope="module")
def cache(pipeline: ActionPipeline, reference: Reference) -> dict[str, NDArray[Any]]:
    """Return what both denoise graphs take besides the guide."""
    inputs = {
        name: getattr(reference, name)[0] for name in ("frames", "token_ids", "token_mask", "state")
    }
    kept = {"token_mask": inputs["token_mask"], "noise": reference.noise[0]}
    return pipeline.prefix.run(inputs) | kept


def random_guides(reference: Reference, scale: float) -> NDArray[np.float32]:
    random = np.random.default_rng(5)
    drawn = random.standard_normal(reference.prev_actions.shape[1:]) * scale
    return drawn.astype(np.float32)


def test_zero_weights_are_the_plain_sampler_to_the_last_bit(
    tmp_path: Path,
    policy: DynamicVla,
    pipeline: ActionPipeline,
    reference: Reference,
    cache: dict[str, NDArray[Any]],
) -> None:
    folder = tiny_bundle() / "onnx"
    step = onnx.load(str(folder / "step.onnx"), load_external_data=False)
    statistics = action_statistics(policy)
    plain = unroll_denoise(step, time_biases(policy), flow_times(10), *statistics, guided=False)
    onnx.save(plain, str(tmp_path / "denoise.onnx"))
    shutil.copyfile(folder / "step.onnx.data", tmp_path / "step.onnx.data")
    guided = pipeline.denoise.graph
    inputs = tuple(spec for spec in guided.inputs if not spec.name.startswith("prev_"))
    spec = GraphSpec(name="denoise", inputs=inputs, outputs=guided.outputs)
    assert len(inputs) == len(guided.inputs) - 2
    with OnnxRuntimeEngine(spec, tmp_path / "denoise.onnx") as engine:
        for case in range(len(reference)):
            case_inputs = cache | {"noise": reference.noise[case]}
            wanted = engine.run(case_inputs)["actions"]
            for scale in (0.0, 1.0, 1e6):
                guide = {
                    "prev_actions": random_guides(reference, scale),
                    "prev_weight": np.zeros(20, np.float32),
                }
                found = pipeline.denoise.run(case_inputs | guide)["actions"]
                assert found.tobytes() == wanted.tobytes()


def test_random_weights_give_the_torch_samplers_actions(
    policy: DynamicVla, pipeline: ActionPipeline, reference: Reference
) -> None:
    random = np.random.default_rng(9)
    n = len(reference)
    scale, offset = action_statistics(policy)
    drawn = random.standard_normal(reference.prev_actions.shape) * scale + offset
    inputs = Reference(
        source="synthetic",
        frames=reference.frames,
        token_ids=reference.token_ids,
        token_mask=reference.token_mask,
        state=reference.state,
        noise=reference.noise,
        prev_actions=drawn.astype(np.float32),
        prev_weight=random.uniform(0, 1, (n, 20)).astype(np.float32),
        actions=reference.actions,
    )
    wanted, _ = with_actions(inputs, policy)
    for case in range(n):
        found = pipeline.run(
            *(
                getattr(inputs, name)[case]
                for name in (
                    "frames", "token_ids", "token_mask", "state", "noise",
                    "prev_actions", "prev_weight",
                )
            )
        )  # fmt: skip
        assert relative_error(found, wanted.actions[case]) <= LIMIT
        in_network_units = (found - offset) / scale, (wanted.actions[case] - offset) / scale
        assert relative_error(*in_network_units) <= LIMIT


def test_actions_of_weight_one_are_the_previous_chunks(
    pipeline: ActionPipeline, reference: Reference, cache: dict[str, NDArray[Any]]
) -> None:
    target = random_guides(reference, 0.01)
    weight = np.zeros(20, np.float32)
    weight[:6] = 1.0
    plain = pipeline.denoise.run(
        cache | {"prev_actions": target, "prev_weight": np.zeros(20, np.float32)}
    )["actions"]
    found = pipeline.denoise.run(cache | {"prev_actions": target, "prev_weight": weight})["actions"]
    np.testing.assert_allclose(found[:6], target[:6], rtol=1e-5, atol=1e-6)
    # Later actions look back at the earlier ones: they follow, without being pulled themselves.
    assert np.abs(found[6:] - plain[6:]).max() > 1e-5


def test_the_reference_has_plain_cases_and_a_guided_one(reference: Reference) -> None:
    weights = reference.prev_weight
    assert not weights[:-1].any()
    assert (weights[-1] == 1).any() and (weights[-1] == 0).any()
    assert ((weights[-1] > 0) & (weights[-1] < 1)).any()


@pytest.fixture(scope="module")
def four_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steps") / "four.bundle"
    options = ExportOptions(tokenizer=tokenizer(), steps=4)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(build, "write_graphs", tiny_graphs)
        report = export_bundle(TINY_CHECKPOINT, folder, options, Progress())
    assert report.verification.passed and report.steps_cost is not None
    return folder


def test_fewer_steps_are_the_torch_models_at_as_many(four_steps: Path, policy: DynamicVla) -> None:
    bundle = read_bundle(four_steps)
    reference = load_reference(four_steps / REFERENCE_NAME)
    assert bundle.manifest.policy.num_steps == 4
    assert bundle.manifest.source.config["num_steps"] == 10
    wanted, _ = with_actions(reference, policy, 4)
    np.testing.assert_array_equal(reference.actions, wanted.actions)
    denoise = onnx.load(str(bundle.onnx_path("denoise")), load_external_data=False)
    biases = [i.name for i in denoise.graph.initializer if i.name.startswith("time_bias_step")]
    assert len(biases) == 4


def test_what_fewer_steps_cost_is_recorded_per_column(four_steps: Path, policy: DynamicVla) -> None:
    cost = read_bundle(four_steps).manifest.steps_cost
    assert cost is not None and (cost.num_steps, cost.checkpoint_steps) == (4, 10)
    reference = load_reference(four_steps / REFERENCE_NAME)
    own, _ = with_actions(reference, policy)
    error = np.abs(reference.actions.astype(np.float64) - own.actions).max(axis=(0, 1))
    assert [column.max_error for column in cost.columns] == error.tolist()
    assert error.min() > 0
    assert [column.units for column in cost.columns] == ["m"] * 3 + ["rad"] * 3 + ["-"]


def test_the_checkpoints_own_steps_cost_nothing(policy: DynamicVla) -> None:
    assert read_bundle(tiny_bundle()).manifest.steps_cost is None


def test_the_torch_guide_is_the_formula(policy: DynamicVla) -> None:
    """One step of the sampler by hand: x (1 - w) + w (t e + (1 - t) y), after the update."""
    from dvla.export.model.flow import euler_sample, soft_mask_guide

    random = torch.Generator().manual_seed(0)
    noise, target = (torch.randn(1, 3, 2, generator=random) for _ in range(2))
    weight = torch.tensor([[1.0, 0.25, 0.0]])
    found = euler_sample(lambda x, t: x * t, noise, 2, soft_mask_guide(target, weight, noise))
    x = noise
    for flow_time, after in ((1.0, 0.5), (0.5, 0.0)):
        x = x - 0.5 * (x * flow_time)
        w = weight[..., None]
        x = x * (1 - w) + w * (after * noise + (1 - after) * target)
    torch.testing.assert_close(found, x)
