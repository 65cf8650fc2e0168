"""Scales for float8 products: what the float32 graph's products see on observations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dvla.engines.tensors import Arrays

# Activations beyond the calibrated range saturate; a new observation may exceed it by a little.
_HEADROOM = 1.1


def largest_factors(onnx_path: Path, cases: Iterable[Arrays]) -> dict[str, float]:
    """Return the largest magnitude of every product's first factor, with a little headroom.

    Args:
        onnx_path: a float32 graph with its external weights.
        cases: inputs of the graph.

    Returns:
        By the name of the product's output, what ``write_typed`` takes for ``fp8``.
    """
    import onnx
    import onnxruntime as ort

    model = onnx.load(str(onnx_path), load_external_data=False)
    weights = {tensor.name for tensor in model.graph.initializer}
    products = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in weights and node.input[0] not in weights
    }
    factors = sorted(set(products.values()))
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in factors)
    options = ort.SessionOptions()
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(onnx_path.parent)
    )
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = {value.name for value in session.get_inputs()}
    largest = np.zeros(len(factors))
    for case in cases:
        found = session.run(factors, {n: array for n, array in case.items() if n in names})
        largest = np.maximum(largest, [np.abs(array).max() for array in found])
    scale = dict(zip(factors, largest * _HEADROOM, strict=True))
    # A factor that was always zero needs a scale all the same.
    return {output: float(max(scale[name], 1e-6)) for output, name in products.items()}
