"""Is int8 worth it on a CPU: what rounding the weights costs in the actions, and what it saves.

``python -m dvla.benchmarks.latency.int8 BUNDLE --out FILE``: weights of products and convolutions
are rounded to int8, one scale per output, everything else stays float32; the actions go through
the gate of reduced precision. That is the least that int8 costs: rounded activations cost more.
The speed is that of the largest products with the shapes of the full size, weights in int8 beside
float32, in alternation.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import tyro
from numpy.typing import NDArray

from dvla.benchmarks.latency.rewrite_draft import Draft, Pair, Sizes, seeded_weight
from dvla.benchmarks.latency.rewrites import BACKENDS, RewriteResult, measured
from dvla.benchmarks.report.store import write_atomically
from dvla.benchmarks.session import say
from dvla.engines.base import EngineOptions
from dvla.engines.bundle import REFERENCE_NAME, Bundle, read_bundle
from dvla.engines.cache import RUNNING_GRAPHS
from dvla.engines.cli_errors import run_main
from dvla.engines.manifest import Verification
from dvla.engines.onnxruntime_ import OnnxRuntimeEngine
from dvla.engines.pipeline import ActionPipeline
from dvla.runtime.machine import Machine, describe_machine

_LARGEST = 127.0
_SMALL = 16
# What rounding alone may do to a product; the actions are judged by the gate.
_PRODUCT_LIMIT = 0.05


class Int8Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What int8 weights cost and save.

    Attributes:
        command: that measures the same again; machine: that it ran on, with its load before.
        size: name of the checkpoint; weights_sha256: of its weights.
        actions: the gate's verdict by which graphs were rounded.
        products: the largest ones, float32 before and int8 after.
    """

    command: str
    machine: Machine
    size: str
    weights_sha256: str
    actions: dict[str, Verification]
    products: tuple[RewriteResult, ...]


def rounded(weight: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Return a weight as int8 holds it, symmetric, with one scale per entry of an axis."""
    numbers, scale = quantised(weight, axis)
    return numbers * scale


def quantised(
    weight: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the int8 numbers and the scales, which broadcast to them."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.abs(weight).max(axis=others, keepdims=True) / np.float32(_LARGEST)
    scale = np.where(scale > 0, scale, np.float32(1.0))
    return np.rint(weight / scale).astype(np.int8), scale


def large_weights(nodes: Iterable[Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """Return the weights that are worth rounding, and the axis of their outputs."""
    found = {}
    for node in nodes:
        if node.op_type not in ("MatMul", "Conv") or len(shapes.get(node.input[1], ())) < 2:
            continue
        shape, axis = shapes[node.input[1]], 0 if node.op_type == "Conv" else -1
        # A depthwise convolution has a few numbers per channel, and no product that int8 helps.
        if min(shape[:2]) >= _SMALL:
            found[node.input[1]] = axis % len(shape)
    return found


def write_rounded(bundle: Bundle, graph: str, folder: Path) -> Path:
    """Write a graph of a bundle, its large weights rounded, and return its path."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(bundle.onnx_path(graph)))
    weights = {initializer.name: initializer for initializer in model.graph.initializer}
    shapes = {name: tuple(each.dims) for name, each in weights.items()}
    for name, axis in large_weights(model.graph.node, shapes).items():
        array = rounded(numpy_helper.to_array(weights[name]), axis)
        weights[name].CopyFrom(numpy_helper.from_array(array, name))
    path = folder / f"{graph}.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location=f"{graph}.onnx.data")
    return path


def actions_of(bundle: Bundle, graphs: tuple[str, ...], threads: int) -> Verification:
    """Return the gate's verdict on a bundle with the weights of some graphs rounded."""
    from dvla.export.gate import verify
    from dvla.export.reference import load_reference

    folder = Path(tempfile.mkdtemp(prefix="dvla-int8-"))
    try:
        prefix, denoise = (
            OnnxRuntimeEngine(
                bundle.graph(name),
                write_rounded(bundle, name, folder) if name in graphs else bundle.onnx_path(name),
                EngineOptions(threads=threads),
            )
            for name in RUNNING_GRAPHS
        )
        pipeline = ActionPipeline(prefix, denoise)
        pipeline.load()
        try:
            return verify(
                pipeline,
                load_reference(bundle.path / REFERENCE_NAME),
                bundle.manifest.policy,
                bundle.manifest.normalisation,
                reduced=True,
            )
        finally:
            pipeline.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def product_pair(name: str, rows: int, width: int, out: int, times: int) -> Pair:
    """Return a product with a float32 weight, and with the same in int8 and scales."""
    weight = seeded_weight(width, out)
    numbers, scale = quantised(weight, 1)
    a, b = Draft(), Draft()
    restored = b.op("DequantizeLinear", b.constant(numbers), b.constant(scale[0]), axis=1)
    return Pair(
        name=name,
        done=False,
        shape=(rows, width),
        before=a.end(a.product("x", weight), times),
        after=b.end(b.op("MatMul", "x", restored), times),
    )


def product_pairs(s: Sizes) -> list[Pair]:
    """Return the products with the most arithmetic of prefix and denoising."""
    kinds = (
        ("prefix", s.prefix, s.hidden, s.mlp, s.layers - 1),
        ("denoising", s.chunk, s.expert_hidden, s.expert_mlp, s.layers * s.steps),
    )
    pairs = []
    for part, rows, width, mlp, times in kinds:
        pairs.append(product_pair(f"gate and up, {part}", rows, width, 2 * mlp, times))
        pairs.append(product_pair(f"down, {part}", rows, mlp, width, times))
    return pairs


def command(
    bundle: Annotated[Path, tyro.conf.Positional],
    out: Path,
    backend: tuple[str, ...] = BACKENDS,
    rounds: int = 20,
    threads: int = 1,
) -> None:
    """Measure what int8 weights cost in the actions of a bundle and save in products.

    Args:
        bundle: whose reference the actions are compared with.
        out: JSON file of the result.
        backend: to measure the products on.
        rounds: each runs both sides of a product once.
        threads: of one inference, for the actions.
    """
    opened, machine = read_bundle(bundle), describe_machine()
    opened.check_files()
    actions = {}
    for graphs in (RUNNING_GRAPHS[:1], RUNNING_GRAPHS[1:], RUNNING_GRAPHS):
        what = " and ".join(graphs)
        actions[what] = actions_of(opened, graphs, threads)
        say(f"int8 weights of {what}: {'passed' if actions[what].passed else 'failed'}")
    products = []
    for pair in product_pairs(Sizes()):
        for name in backend:
            products.append(measured(pair, name, rounds, _PRODUCT_LIMIT))
            say(f"{name}: {pair.name}: {products[-1].saved_per_chunk_s * 1e3:.2f} ms a chunk")
    report = Int8Report(
        command="python -m dvla.benchmarks.latency.int8 BUNDLE "
        f"--backend {' '.join(backend)} --rounds {rounds} --threads {threads}",
        machine=machine,
        size=opened.manifest.source.name,
        weights_sha256=opened.manifest.source.sha256,
        actions=actions,
        products=tuple(products),
    )
    write_atomically(out, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    say(f"report: {out}")


if __name__ == "__main__":
    name = "python -m dvla.benchmarks.latency.int8"
    sys.exit(run_main(lambda: tyro.cli(command, prog=name)))
