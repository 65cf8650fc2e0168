"""Is int8 worth it on a CPU: what rounding the weights costs in the actions, and what it saves.

``python -m dvla.benchmarks.latency.int8 BUNDLE --out FILE``: weights of products and convolutions
become int8, one scale per output, and are told to the engine as such; everything else of the graph
is float32, but OpenVINO rounds the activations of such a product as well. The actions go through
the gate of reduced precision, and the engine runs beside the float32 one in alternation; so do the
largest products alone, with the shapes of the full size.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import tyro
from numpy.typing import NDArray

from dvla.benchmarks.latency.alternation import alternate
from dvla.benchmarks.latency.rewrite_draft import Draft, Pair, Sizes, seeded_weight
from dvla.benchmarks.latency.rewrites import BACKENDS, RewriteResult, measured
from dvla.benchmarks.report.schema import END_TO_END
from dvla.benchmarks.report.statistics import Comparison, compare_samples, comparison_text
from dvla.benchmarks.report.store import write_whole
from dvla.benchmarks.session import say
from dvla.engines.base import EngineOptions
from dvla.engines.bundle import REFERENCE_NAME, Bundle, read_bundle
from dvla.engines.cache import RUNNING_GRAPHS
from dvla.engines.cli_errors import run_main
from dvla.engines.manifest import Verification
from dvla.engines.pipeline import ActionPipeline
from dvla.engines.registry import engine_class
from dvla.export.reference import Reference
from dvla.runtime.machine import Machine, describe_machine

_LARGEST = 127.0
_SMALL = 16
# What rounding alone may do to a product; the actions are judged by the gate.
_PRODUCT_LIMIT = 0.05


class Int8Engine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An engine with int8 weights, beside itself in float32.

    Attributes:
        backend: it runs on; graphs: whose weights are int8.
        verification: the gate's verdict on its actions.
        worst_p99: 99th percentile of the error of the worst column, in its standard deviations.
        fp32_s / int8_s: of one inference, one per round.
        comparison: of the two.
    """

    backend: str
    graphs: tuple[str, ...]
    verification: Verification
    worst_p99: float
    fp32_s: tuple[float, ...]
    int8_s: tuple[float, ...]
    comparison: Comparison


class Int8Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What int8 weights cost and save.

    Attributes:
        command: that measures the same again; machine: that it ran on, with its load before.
        size: name of the checkpoint; weights_sha256: of its weights.
        engines: with int8 weights in some graphs.
        products: the largest ones, float32 before and int8 after.
    """

    command: str
    machine: Machine
    size: str
    weights_sha256: str
    engines: tuple[Int8Engine, ...]
    products: tuple[RewriteResult, ...]


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


def write_int8(bundle: Bundle, graph: str, folder: Path) -> Path:
    """Write a graph of a bundle with its large weights in int8, and return its path."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(bundle.onnx_path(graph)))
    weights = {initializer.name: initializer for initializer in model.graph.initializer}
    shapes = {name: tuple(each.dims) for name, each in weights.items()}
    restoring = []
    for name, axis in large_weights(model.graph.node, shapes).items():
        numbers, scale = quantised(numpy_helper.to_array(weights[name]), axis)
        model.graph.initializer.remove(weights[name])
        stored: dict[str, NDArray[Any]] = {
            f"{name}_int8": numbers, f"{name}_scale": scale.reshape(-1),
        }  # fmt: skip
        model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in stored.items())
        restoring.append(helper.make_node("DequantizeLinear", [*stored], [name], axis=axis))
    nodes = [*restoring, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    path = folder / f"{graph}.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location=f"{graph}.onnx.data")
    return path


class _Turns:
    """A loaded pipeline that runs the reference's first observation; a ``Runnable``."""

    def __init__(self, name: str, pipeline: ActionPipeline, reference: Reference) -> None:
        self.name, self._pipeline, self._reference = name, pipeline, reference

    def run(self) -> dict[str, float]:
        r, started_s = self._reference, time.perf_counter()
        self._pipeline.run(
            r.frames[0], r.token_ids[0], r.token_mask[0], r.state[0], r.noise[0],
            r.prev_actions[0], r.prev_weight[0],
        )  # fmt: skip
        return {END_TO_END: time.perf_counter() - started_s}


def int8_engine(
    bundle: Bundle, backend: str, graphs: tuple[str, ...], rounds: int, threads: int
) -> Int8Engine:
    """Judge and measure an engine with the large weights of some graphs in int8.

    Args:
        bundle: whose graphs they are.
        backend: that runs them.
        graphs: names.
        rounds: each runs int8 and float32 once.
        threads: of one inference.
    """
    from dvla.export.gate import verify
    from dvla.export.reference import load_reference

    reference, engine = load_reference(bundle.path / REFERENCE_NAME), engine_class(backend)
    options = EngineOptions(threads=threads)

    def pipeline(reduced: tuple[str, ...], folder: Path) -> ActionPipeline:
        prefix, denoise = (
            engine(
                bundle.graph(name),
                write_int8(bundle, name, folder) if name in reduced else bundle.onnx_path(name),
                options,
            )
            for name in RUNNING_GRAPHS
        )
        return ActionPipeline(prefix, denoise)

    with tempfile.TemporaryDirectory(prefix="dvla-int8-", ignore_cleanup_errors=True) as name:
        exact, reduced = pipeline((), Path(name)), pipeline(graphs, Path(name))
        try:
            for each in (exact, reduced):
                each.load()
                each.warm_up()
            facts = bundle.manifest.policy, bundle.manifest.normalisation
            verification = verify(reduced, reference, *facts, reduced=True)
            turns = [_Turns("fp32", exact, reference), _Turns("int8", reduced, reference)]
            samples_s = alternate(turns, rounds, warm_up_rounds=1).samples_s
        finally:
            for each in (exact, reduced):
                each.close()
    fp32_s, int8_s = (samples_s[turn.name][END_TO_END] for turn in turns)
    return Int8Engine(
        backend=backend,
        graphs=graphs,
        verification=verification,
        worst_p99=max(
            column.p99_error / std
            for column, std in zip(
                verification.columns, bundle.manifest.normalisation.action_std, strict=True
            )
        ),
        fp32_s=fp32_s,
        int8_s=int8_s,
        comparison=compare_samples(("int8", int8_s), ("fp32", fp32_s), END_TO_END, paired=True),
    )


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
        backend: to measure on.
        rounds: each runs int8 and float32 once.
        threads: of one inference.
    """
    opened, machine = read_bundle(bundle), describe_machine()
    opened.check_files()
    engines = []
    for name in backend:
        for graphs in (RUNNING_GRAPHS[:1], RUNNING_GRAPHS[1:], RUNNING_GRAPHS):
            found = int8_engine(opened, name, graphs, rounds, threads)
            engines.append(found)
            verdict = "passed" if found.verification.passed else "failed"
            what = f"{name}, int8 weights of {' and '.join(graphs)}: {verdict}"
            say(f"{what}; {comparison_text(found.comparison)}")
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
        engines=tuple(engines),
        products=tuple(products),
    )
    write_whole(out, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    say(f"report: {out}")


if __name__ == "__main__":
    name = "python -m dvla.benchmarks.latency.int8"
    sys.exit(run_main(lambda: tyro.cli(command, prog=name)))
