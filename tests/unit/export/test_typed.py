"""Typed graphs: which number format is where, that weights are shared, and what rounding costs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from bundle_tools import tiny_bundle
from numpy.typing import NDArray

from dvla.engines.bundle import REFERENCE_NAME
from dvla.engines.errors import UsageError
from dvla.export.reference import load_reference
from dvla.export.typed import BFLOAT16, FLOAT, FLOAT16, TYPINGS, element_types, write_typed
from dvla.export.typed_fp8 import largest_factors

NAMES = ("frames", "token_ids", "token_mask", "state", "noise", "prev_actions", "prev_weight")
GRAPHS = ("prefix", "denoise")


def source(graph: str) -> Path:
    return tiny_bundle() / "onnx" / f"{graph}.onnx"


def case(index: int) -> dict[str, NDArray[Any]]:
    reference = load_reference(tiny_bundle() / REFERENCE_NAME)
    return {name: getattr(reference, name)[index] for name in NAMES}


def run(path: Path, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run a graph exactly as it is written: an optimiser would remove what rounds."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    outputs = [value.name for value in session.get_outputs()]
    given = {name: inputs[name] for name in names}
    return dict(zip(outputs, session.run(outputs, given), strict=True))


def actions_of(folder: Path, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    cache = run(folder / "prefix.onnx", inputs)
    found: NDArray[np.float32] = run(folder / "denoise.onnx", inputs | cache)["actions"]
    return found


def scales(inputs: dict[str, NDArray[Any]]) -> dict[str, dict[str, float]]:
    cache = run(source("prefix"), inputs)
    return {graph: largest_factors(source(graph), [inputs | cache]) for graph in GRAPHS}


def typed(folder: Path, graph: str, precision: str) -> Any:
    write_typed(source(graph), folder / f"{graph}.onnx", precision)
    return onnx.load(str(folder / f"{graph}.onnx"), load_external_data=False).graph


def formats(graph: Any) -> dict[str, set[int]]:
    """Return the element types that each operator computes in."""
    types = element_types(graph)
    found: dict[str, set[int]] = {}
    for node in graph.node:
        found.setdefault(node.op_type, set()).add(types[node.input[0]])
    return found


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_both_factors_have_one_format_and_the_declaration_stays(
    tmp_path: Path, graph: str, precision: str
) -> None:
    found = typed(tmp_path, graph, precision)
    original = onnx.load(str(source(graph)), load_external_data=False).graph
    assert [v.SerializeToString() for v in found.input] == [
        v.SerializeToString() for v in original.input
    ]
    assert [v.name for v in found.output] == [v.name for v in original.output]
    types = element_types(found)
    assert all(types[value.name] == FLOAT for value in found.output)
    for node in found.node:
        if node.op_type in ("Add", "Sub", "Mul", "Div", "MatMul", "Conv", "Concat"):
            assert len({types[name] for name in node.input}) == 1, node.name
    onnx.checker.check_model(str(tmp_path / f"{graph}.onnx"))


def test_bf16_stays_out_of_the_vision_and_statistics_stay_float32(tmp_path: Path) -> None:
    found = formats(typed(tmp_path, "prefix", "bf16"))
    assert found["Conv"] == {FLOAT16}
    assert found["MatMul"] == {FLOAT, FLOAT16, BFLOAT16}
    for operator in ("Softmax", "LayerNormalization", "ReduceMean", "Sqrt", "Pow", "Where"):
        assert found[operator] <= {FLOAT, 9}, operator  # Where begins with a bool.


def test_only_products_of_the_layers_are_reduced_in_the_denoising(tmp_path: Path) -> None:
    found = typed(tmp_path, "denoise", "bf16")
    types = element_types(found)
    products = Counter(types[n.input[0]] for n in found.node if n.op_type == "MatMul")
    # Into and out of the sample, ten times: Euler's state is never rounded.
    assert products[FLOAT] == 20
    assert products[BFLOAT16] > 200
    assert formats(found)["Softmax"] == {FLOAT}
    assert formats(found)["Sigmoid"] == {FLOAT}


def test_ten_steps_share_each_weight_once(tmp_path: Path) -> None:
    found = typed(tmp_path, "denoise", "fp16")
    names = [tensor.name for tensor in found.initializer]
    assert len(names) == len(set(names))
    read = {name for node in found.node for name in node.input}
    assert set(names) <= read
    whole = sum(f.stat().st_size for f in (tiny_bundle() / "onnx").glob("step.onnx.data"))
    assert (tmp_path / "denoise.onnx.data").stat().st_size < 0.6 * whole
    casts = [n.input[0] for n in found.node if n.op_type == "Cast"]
    assert not set(casts) & set(names)


@pytest.mark.parametrize(
    ("precision", "limit"), [("fp32", 1e-5), ("fp16", 0.005), ("bf16", 0.03), ("fp8", 0.5)]
)
def test_actions_of_the_rounded_graphs_stay_near_float32(
    tmp_path: Path, precision: str, limit: float
) -> None:
    inputs = case(1)
    wanted = actions_of(source("prefix").parent, inputs)
    quantized = scales(inputs) if precision == "fp8" else {}
    for graph in GRAPHS:
        largest = quantized.get(graph)
        path = tmp_path / f"{graph}.onnx"
        write_typed(source(graph), path, precision, largest, emulated=True)
    error = np.abs(actions_of(tmp_path, inputs) - wanted).max() / np.abs(wanted).max()
    assert error < limit
    if precision != "fp32":
        assert error > limit / 100  # It did round.


def test_fp16_runs_typed_too_and_agrees_with_its_rounded_twin(tmp_path: Path) -> None:
    inputs = case(2)
    (tmp_path / "twin").mkdir()
    for graph in GRAPHS:
        write_typed(source(graph), tmp_path / f"{graph}.onnx", "fp16")
        write_typed(source(graph), tmp_path / "twin" / f"{graph}.onnx", "fp16", emulated=True)
    real, twin = actions_of(tmp_path, inputs), actions_of(tmp_path / "twin", inputs)
    assert np.abs(real - twin).max() < 0.01 * np.abs(twin).max()


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.full((2, 2), 1e5, np.float32), "layers.0.out")
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 2]) for n in ("x", "y")]
    node = helper.make_node("MatMul", ["x", "layers.0.out"], ["y"], "y")
    model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:], [weight]))
    onnx.save(model, str(tmp_path / "big.onnx"))
    with pytest.raises(UsageError, match=r"layers.0.out does not fit .*fp16.*up to 100000"):
        write_typed(tmp_path / "big.onnx", tmp_path / "typed.onnx", "fp16")
    write_typed(tmp_path / "big.onnx", tmp_path / "typed.onnx", "bf16")


def test_unknown_precisions_and_missing_scales_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'int4'.*Valid: fp32, fp16, bf16, fp8"):
        write_typed(source("prefix"), tmp_path / "prefix.onnx", "int4")
    with pytest.raises(UsageError, match="no calibrated scale"):
        write_typed(source("denoise"), tmp_path / "denoise.onnx", "fp8")
    assert set(TYPINGS) == {"fp32", "fp16", "bf16", "fp8"}
