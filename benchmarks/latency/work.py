"""How much work a part is, counted from the graph or the model; never typed in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvla.benchmarks.report.schema import (
    DENOISE,
    END_TO_END,
    PREFIX,
    VISION,
    VISION_PREFIX,
    Work,
)
from dvla.engines.bundle import Bundle
from dvla.engines.errors import MissingDependency
from dvla.engines.pipeline import DENOISE as DENOISE_GRAPH
from dvla.engines.pipeline import PREFIX as PREFIX_GRAPH

if TYPE_CHECKING:
    from dvla.benchmarks.fixtures import Case
    from dvla.export.model.policy import DynamicVla

_BITS = {1: 32, 2: 8, 3: 8, 7: 64, 10: 16, 11: 64, 16: 16, 17: 8, 18: 8, 21: 4, 22: 4}
"""Bits of an element, by ONNX element type."""
_PRECISION_BITS = {"fp32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8}
_MULTIPLYING = ("Conv", "MatMul", "Gemm")
_WEIGHT_FORMING = ("Cast", "DequantizeLinear", "Identity", "Reshape", "Transpose")


def bundle_work(bundle: Bundle, precision: Mapping[str, str]) -> dict[str, Work]:
    """Return the work of a bundle's graphs, by part.

    Args:
        bundle: its graphs lie on the disk.
        precision: of each graph's arithmetic, to which an engine converts wider weights.
    """
    prefix, denoise = (
        graph_work(bundle.onnx_path(graph), _PRECISION_BITS.get(precision[graph], 32))
        for graph in (PREFIX_GRAPH, DENOISE_GRAPH)
    )
    return {VISION_PREFIX: prefix, DENOISE: denoise, END_TO_END: _sum(prefix, denoise)}


def graph_work(path: Path, at_most_bits: int = 32) -> Work:
    """Count convolutions and matrix products of an ONNX graph, and the weights that they read.

    Args:
        path: of the graph; its external weights are not opened.
        at_most_bits: of one weight, however wide it is stored.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingDependency(
            "Counting the work of a graph needs onnx", next_command="pip install 'dvla[export]'"
        ) from error
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path), load_external_data=False))
    graph = model.graph
    shapes: dict[str, tuple[int, ...]] = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    shapes |= {weight.name: tuple(weight.dims) for weight in graph.initializer}
    # Maps each tensor to the stored weight behind it and its bytes, through casts and scales.
    weights = {
        weight.name: (
            weight.name,
            math.prod(weight.dims) * min(at_most_bits, _BITS.get(weight.data_type, 32)) // 8,
        )
        for weight in graph.initializer
    }
    flops, read_bytes, distinct = 0, 0, {}
    for node in graph.node:
        if node.op_type in _WEIGHT_FORMING and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
        if node.op_type not in _MULTIPLYING:
            continue
        flops += _node_flops(node, shapes)
        for name in node.input:
            if name in weights:
                stored, size_bytes = weights[name]
                distinct[stored] = size_bytes
                read_bytes += size_bytes
    return Work(
        flops=flops,
        weight_bytes=sum(distinct.values()),
        weight_bytes_read=read_bytes,
        counted_from="ONNX graph",
    )


def _node_flops(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    """Return two operations per multiplication of a node's product."""
    out = math.prod(shapes[node.output[0]])
    if node.op_type == "Conv":
        return 2 * out * math.prod(shapes[node.input[1]][1:])
    left = shapes[node.input[0]]
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return 2 * out * (left[0] if transposed else left[-1])


def model_work(model: DynamicVla, case: Case) -> dict[str, Work]:
    """Return the work of the torch model, by part, counted while it runs without storage.

    Args:
        model: any; only its configuration and dims are used.
        case: whose sizes are counted.
    """
    from torch.utils.flop_counter import FlopCounterMode

    from dvla.export.checkpoint import empty_policy
    from dvla.export.torch_ import torch

    def counted(part: Callable[[], Any]) -> tuple[Any, int]:
        with FlopCounterMode(display=False) as counter:
            result = part()
        return result, int(counter.get_total_flops())

    seen, meta = case.observation, empty_policy(model.config, model.arch)
    with torch.device("meta"), torch.no_grad():
        frames = {
            key: torch.zeros(1, *frames.shape, dtype=torch.uint8)
            for key, frames in seen.images.items()
        }
        tokens = torch.zeros(1, len(seen.token_ids or ()), dtype=torch.int64)
        images, vision = counted(lambda: meta.embed_images(meta.prepare_images(frames)))

        def prefix() -> tuple[Any, Any]:
            embedded, mask = meta.embed_prefix(
                images,
                tokens,
                torch.ones_like(tokens, dtype=torch.bool),
                torch.zeros(1, 1, model.config.state_dim),
            )
            return meta.prefix_cache(embedded, mask), mask

        (cache, mask), prefix_flops = counted(prefix)
        noise = torch.zeros(1, *case.noise.shape)
        _, denoise = counted(lambda: meta.sample_actions(cache, mask, noise))
    sizes = _model_bytes(meta)
    steps = {VISION: 1, PREFIX: 1, DENOISE: model.config.num_steps}
    found = {
        part: Work(
            flops=flops,
            weight_bytes=sizes[part],
            weight_bytes_read=sizes[part] * steps[part],
            counted_from="torch model",
        )
        for part, flops in ((VISION, vision), (PREFIX, prefix_flops), (DENOISE, denoise))
    }
    both = _sum(found[VISION], found[PREFIX])
    return found | {VISION_PREFIX: both, END_TO_END: _sum(both, found[DENOISE])}


def _model_bytes(model: DynamicVla) -> dict[str, int]:
    """Return the bytes of the weights that each part multiplies with; embeddings are looked up."""
    sizes = {VISION: 0, PREFIX: 0, DENOISE: 0}
    for name, parameter in model.named_parameters():
        if "embed_tokens" in name:
            continue
        if "vision_model." in name or ".connector." in name:
            part = VISION
        elif ".text_model." in name or "state_proj" in name:
            part = PREFIX
        else:
            part = DENOISE
        sizes[part] += parameter.numel() * 4
    return sizes


def _sum(first: Work, second: Work) -> Work:
    return Work(
        flops=first.flops + second.flops,
        weight_bytes=first.weight_bytes + second.weight_bytes,
        weight_bytes_read=first.weight_bytes_read + second.weight_bytes_read,
        counted_from=first.counted_from,
    )
