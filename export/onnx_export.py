"""The policy's three ONNX graphs, written into a bundle's ``onnx`` folder.

``prefix.onnx`` and ``step.onnx`` come from torch, each with its weights in an external file.
``denoise.onnx`` is the step unrolled; it refers to the step's weights and holds none of its own.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.engines.tensors import GraphSpec
from dvla.export.model.flow import flow_times
from dvla.export.model.normalize import EPS
from dvla.export.model.policy import DynamicVla
from dvla.export.prefix_graph import PrefixGraph, prefix_spec
from dvla.export.resize import Size
from dvla.export.step_graph import StepGraph, denoise_spec, step_spec, time_biases
from dvla.export.torch_ import nn, torch
from dvla.export.unroll import unroll_denoise

OPSET = 20
"""The newest that TensorRT 10.3 reads, and the first with Gelu as one operator: spelt out in four,
it keeps ONNX Runtime from chaining the convolutions around it, which costs a third of the vision.
"""


def write_graphs(
    policy: DynamicVla,
    camera: Size,
    action_units: tuple[str, ...],
    folder: Path,
    stage: Callable[[str], Any],
) -> tuple[GraphSpec, ...]:
    """Write the prefix, step and denoise graphs of a policy.

    Args:
        policy: the torch policy, BatchNorms folded.
        camera: (height, width) of the frames of every camera [pixel].
        action_units: units of the action columns.
        folder: where the files go.
        stage: called with a name, returns a context manager around each stage, for progress.

    Returns:
        The declarations of the three graphs.
    """
    prefix, step = prefix_spec(policy, camera), step_spec(policy)
    with stage("prefix graph"):
        export_module(PrefixGraph(policy, camera), prefix, folder)
    with stage("step graph"):
        export_module(StepGraph(policy), step, folder)
    with stage("denoise graph"):
        denoise = write_denoise(policy, action_units, folder)
    return prefix, step, denoise


def write_denoise(policy: DynamicVla, action_units: tuple[str, ...], folder: Path) -> GraphSpec:
    """Unroll ``step.onnx`` into ``denoise.onnx`` beside it and return its declaration."""
    import onnx

    step = onnx.load(str(folder / "step.onnx"), load_external_data=False)
    times = flow_times(policy.config.num_steps)
    denoise = unroll_denoise(step, time_biases(policy), times, *action_statistics(policy))
    onnx.save(denoise, str(folder / "denoise.onnx"))
    onnx.checker.check_model(str(folder / "denoise.onnx"))
    return denoise_spec(policy, action_units)


def action_statistics(policy: DynamicVla) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return scale and offset (A,) that bring the network's actions to physical units."""
    statistics = policy.unnormalize_outputs.buffer_action
    scale = (statistics.std + EPS).numpy().astype(np.float32)
    return scale, statistics.mean.numpy().astype(np.float32)


def export_module(module: nn.Module, spec: GraphSpec, folder: Path) -> None:
    """Write a module as ``<graph>.onnx``, its weights beside it in ``<graph>.onnx.data``."""
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    example = tuple(torch.from_numpy(tensor.empty()) for tensor in spec.inputs)
    with torch.no_grad(), _quiet_exporter():
        program = torch.onnx.export(
            module.eval(),
            example,
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # The dynamo exporter always returns a program.
    path = folder / f"{spec.name}.onnx"
    program.save(path, external_data=True)
    _strip_metadata(path)
    onnx.checker.check_model(str(path))


def _strip_metadata(path: Path) -> None:
    """Remove stack traces and source paths, so that equal checkpoints give equal files."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    del graph.value_info[:]
    onnx.save(model, str(path))


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what the exporter says about optional libraries and its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
