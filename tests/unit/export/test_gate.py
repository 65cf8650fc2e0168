"""The gate lets the model through and nothing else; faults are injected on purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bundle_tools import (
    copy_of_tiny_bundle,
    edit_manifest,
    tiny_bundle,
    tiny_graphs,
    tokenizer,
)
from golden_model import TINY_CHECKPOINT

from dvla.engines import bundle as bundles
from dvla.engines.bundle import file_records, read_bundle, write_manifest
from dvla.engines.errors import EngineMismatch, ExportMismatch
from dvla.export import build
from dvla.export.build import ExportOptions, export_bundle, verify_bundle
from dvla.export.gate import compare, require_passed
from dvla.export.progress import Progress
from dvla.export.reference import load_reference
from dvla.runtime.policy import Policy


def reseal(bundle: Path) -> None:
    """Let the manifest vouch for the files as they are now, so that only the gate can object."""
    manifest = read_bundle(bundle).manifest
    (bundle / ".checked.json").unlink(missing_ok=True)
    files = tuple(f for f in file_records(bundle) if not f.path.startswith("."))
    write_manifest(bundle, msgspec.structs.replace(manifest, files=files))


def edit_denoise(bundle: Path, edit: Callable[[Any], None]) -> None:
    import onnx

    path = str(bundle / "onnx" / "denoise.onnx")
    model = onnx.load(path, load_external_data=False)
    edit(model.graph)
    onnx.save(model, path)
    reseal(bundle)


def skip_unnormalise(graph: Any) -> None:
    """Let the network's own units out as actions."""
    for node in graph.node:
        if node.output[0] == "actions":
            node.op_type = "Identity"
            node.input[:] = ["normalised"]


def forget_the_offset(graph: Any) -> None:
    for node in graph.node:
        if node.output[0] == "actions":
            node.op_type = "Identity"
            node.input[:] = ["scaled"]


def shift_one_time_bias(graph: Any) -> None:
    """Use the second step's time in the third: an off-by-one of the unrolling."""
    for node in graph.node:
        node.input[:] = ["time_bias_step1" if i == "time_bias_step2" else i for i in node.input]


def halve_the_step(graph: Any) -> None:
    from onnx import numpy_helper

    for tensor in graph.initializer:
        if tensor.name == "step_size":
            half = numpy_helper.to_array(tensor) / 2
            tensor.CopyFrom(numpy_helper.from_array(half.astype(np.float32), "step_size"))


def ignore_the_guide(graph: Any) -> None:
    for node in graph.node:
        node.input[:] = ["x_step4" if i == "x_guided_step4" else i for i in node.input]


def guide_towards_the_normalised(graph: Any) -> None:
    for node in graph.node:
        node.input[:] = ["prev_actions" if i == "prev_normalised" else i for i in node.input]


@pytest.mark.parametrize(
    "fault",
    [
        skip_unnormalise,
        forget_the_offset,
        shift_one_time_bias,
        halve_the_step,
        ignore_the_guide,
        guide_towards_the_normalised,
    ],
)
def test_a_fault_in_the_denoise_graph_fails(tmp_path: Path, fault: Callable[[Any], None]) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)
    edit_denoise(bundle, fault)
    with pytest.raises(ExportMismatch, match=r"relative error.*largest per column: x .* m,"):
        verify_bundle(bundle, "onnxruntime", Progress())
    with pytest.raises(EngineMismatch, match="onnxruntime"):
        Policy.load(bundle)


@pytest.mark.parametrize("graph", ["prefix", "step"])
def test_a_weight_that_is_off_by_five_per_cent_fails(tmp_path: Path, graph: str) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)
    enlarge_a_weight(bundle / "onnx", graph)
    reseal(bundle)
    with pytest.raises(ExportMismatch):
        verify_bundle(bundle, "onnxruntime", Progress())


def enlarge_a_weight(folder: Path, graph: str) -> None:
    """Make the largest tensor of a graph larger by five per cent."""
    import onnx

    model = onnx.load(str(folder / f"{graph}.onnx"), load_external_data=False)
    largest = max(model.graph.initializer, key=lambda t: _external(t, "length"))
    shape = (_external(largest, "length") // 4,)
    data = folder / f"{graph}.onnx.data"
    weights = np.memmap(data, np.float32, "r+", _external(largest, "offset"), shape)
    weights *= np.float32(1.05)
    weights.flush()


def _external(tensor: Any, key: str) -> int:
    return next((int(e.value) for e in tensor.external_data if e.key == key), 0)


def test_an_export_that_fails_leaves_no_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(policy: Any, camera: Any, units: Any, folder: Path, stage: Any) -> Any:
        graphs = tiny_graphs(policy, camera, units, folder, stage)
        enlarge_a_weight(folder, "step")
        return graphs

    monkeypatch.setattr(build, "write_graphs", faulty)
    with pytest.raises(ExportMismatch) as caught:
        export_bundle(
            TINY_CHECKPOINT, tmp_path / "b", ExportOptions(tokenizer=tokenizer()), Progress()
        )
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_policy: Any, _camera: Any, _units: Any, folder: Path, _stage: Any) -> Any:
        folder.mkdir(parents=True)
        (folder / "prefix.onnx").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "write_graphs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_bundle(
            TINY_CHECKPOINT, tmp_path / "b", ExportOptions(tokenizer=tokenizer()), Progress()
        )
    assert list(tmp_path.iterdir()) == []


def test_a_verification_on_another_machine_makes_its_engine_runnable(tmp_path: Path) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)

    def as_if_compiled_elsewhere(manifest: dict[str, Any]) -> None:
        manifest["engines"][0].update(status="compiled, not run", verification=None)

    edit_manifest(bundle, as_if_compiled_elsewhere)
    with pytest.raises(EngineMismatch, match="compiled, not run"):
        Policy.load(bundle)
    report = verify_bundle(bundle, "onnxruntime", Progress())
    assert report.verification.passed
    assert report.eager_s is None
    Policy.load(bundle).close()
    assert len(read_bundle(bundle).manifest.engines) == 1


def test_the_normalised_error_sees_what_the_gripper_hides() -> None:
    bundle = read_bundle(tiny_bundle())
    manifest = bundle.manifest
    reference = load_reference(bundle.path / bundles.REFERENCE_NAME)
    statistics = msgspec.structs.replace(
        manifest.normalisation,
        action_mean=(0.0,) * 7,
        action_std=(5e-3,) * 3 + (0.02,) * 3 + (1.0,),
    )
    random = np.random.default_rng(0)
    scale = np.array(statistics.action_std, np.float32)
    actions = random.standard_normal(reference.actions.shape).astype(np.float32) * scale
    reference = msgspec.structs.replace(reference, actions=actions)
    off = actions.copy()
    off[0, 0, 0] += 5e-5  # A hundredth of x's deviation: 50 micrometres.
    found = compare(off, reference, manifest.policy, statistics, 1e-4, 0.0)
    assert found.relative_error <= found.limit
    assert found.normalised_error > found.limit
    assert not found.passed
    assert found.columns[0].max_error == pytest.approx(5e-5, rel=1e-3)
    assert all(column.max_error == 0 for column in found.columns[1:])


def test_actions_that_are_not_numbers_fail_and_can_be_written_down() -> None:
    bundle = read_bundle(tiny_bundle())
    reference = load_reference(bundle.path / bundles.REFERENCE_NAME)
    actions = reference.actions.copy()
    actions[1, 2, 3] = np.nan
    manifest = bundle.manifest
    found = compare(actions, reference, manifest.policy, manifest.normalisation, 1e-4, 0.0)
    assert not found.passed
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found
    with pytest.raises(ExportMismatch):
        require_passed(found, "onnxruntime")
