"""What the soft mask costs: the guided denoise graph against the plain one, in alternation.

    python -m dvla.benchmarks.dom.guide_cost BUNDLE --out rtc-latency.json

The plain graph is unrolled from the bundle's own step, without the mask; both read the same
weights. Each round runs both once, in random order, so that they share whatever slows the machine.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import tyro
from numpy.typing import NDArray

from dvla.benchmarks.report.statistics import Comparison, compare_samples, comparison_text
from dvla.engines.base import Engine, EngineOptions
from dvla.engines.bundle import REFERENCE_NAME, Bundle, read_bundle
from dvla.engines.cli_errors import run_main
from dvla.engines.integrity import sha256_file
from dvla.engines.onnxruntime_ import OnnxRuntimeEngine
from dvla.engines.pipeline import PREFIX
from dvla.engines.tensors import GraphSpec
from dvla.runtime.machine import Machine, describe_machine


class Timing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Percentiles of the durations of one graph [s]."""

    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float

    @classmethod
    def of(cls, durations_s: NDArray[np.float64]) -> Timing:
        """Return the percentiles of some durations."""
        values = [*np.percentile(durations_s, [50, 95, 99]), durations_s.max()]
        p50, p95, p99, most = (round(float(value), 6) for value in values)
        return cls(p50_s=p50, p95_s=p95, p99_s=p99, max_s=most)


class CostReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The comparison.

    Attributes:
        plain: the denoise graph without the mask; ``zero`` with it, all weights zero; ``guided``
            with weights from 1 to 0; ``prefix``: the other half of an inference.
        denoise: guided against plain; ``inference`` with the prefix added to both.
        zero_is_plain: whether zero weights gave the plain actions bit for bit.
    """

    schema: int = 1
    command: str
    machine: Machine
    bundle: str
    graph_sha256: str
    num_steps: int
    threads: int | None
    rounds: int
    prefix: Timing
    plain: Timing
    zero: Timing
    guided: Timing
    denoise: Comparison
    inference: Comparison
    zero_is_plain: bool


def plain_engine(bundle: Bundle, folder: Path, options: EngineOptions) -> Engine:
    """Return, without loading, the engine of a bundle's denoise graph without the mask."""
    import onnx
    from onnx import numpy_helper

    from dvla.export.model.flow import flow_times
    from dvla.export.unroll import unroll_denoise

    step, denoise = (
        onnx.load(str(bundle.onnx_path(name)), load_external_data=False)
        for name in ("step", "denoise")
    )
    num_steps = bundle.manifest.policy.num_steps
    constants = {i.name: i for i in denoise.graph.initializer if not i.external_data}
    biases = [numpy_helper.to_array(constants[f"time_bias_step{i}"]) for i in range(num_steps)]
    scale, offset = (
        numpy_helper.to_array(constants[name]) for name in ("action_scale", "action_offset")
    )
    plain = unroll_denoise(
        step, np.stack(biases), flow_times(num_steps), scale, offset, guided=False
    )
    onnx.save(plain, str(folder / "denoise.onnx"))
    # The weights must lie beside the graph, and no link may lead out of its folder.
    os.link(bundle.path / "onnx" / "step.onnx.data", folder / "step.onnx.data")
    guided = bundle.graph("denoise")
    inputs = tuple(spec for spec in guided.inputs if not spec.name.startswith("prev_"))
    spec = GraphSpec(name="denoise", inputs=inputs, outputs=guided.outputs)
    return OnnxRuntimeEngine(spec, folder / "denoise.onnx", options)


def alternate(
    subjects: dict[str, Callable[[], object]], rounds: int, warm_up: int = 3
) -> dict[str, NDArray[np.float64]]:
    """Run each subject once a round, in random order; return durations (rounds,) [s] by name."""
    random = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(warm_up + rounds):
        for name in random.permutation(list(subjects)):
            started_s = time.perf_counter()
            subjects[name]()
            if number >= warm_up:
                found[name].append(time.perf_counter() - started_s)
    return {name: np.array(durations_s) for name, durations_s in found.items()}


def measure(bundle: Bundle, folder: Path, rounds: int, threads: int | None) -> CostReport:
    """Measure a bundle on ONNX Runtime; ``folder`` takes the plain graph."""
    options = EngineOptions(threads=threads)
    prefix = OnnxRuntimeEngine(bundle.graph(PREFIX), bundle.onnx_path(PREFIX), options)
    guided = OnnxRuntimeEngine(bundle.graph("denoise"), bundle.onnx_path("denoise"), options)
    plain = plain_engine(bundle, folder, options)
    with np.load(bundle.path / REFERENCE_NAME, allow_pickle=False) as arrays:
        # Its last case is the guided one; the source of the frames is a word.
        case: dict[str, NDArray[Any]] = {n: arrays[n][-1] for n in arrays if arrays[n].ndim}
    with prefix, guided, plain:
        seen = {k: case[k] for k in ("frames", "token_ids", "token_mask", "state")}
        inputs = prefix.run(seen) | {k: case[k] for k in ("token_mask", "noise")}
        zero = {"prev_actions": case["prev_actions"], "prev_weight": case["prev_weight"] * 0}
        mask = {k: case[k] for k in ("prev_actions", "prev_weight")}
        unguided = guided.run(inputs | zero)["actions"]
        same = plain.run(inputs)["actions"].tobytes() == unguided.tobytes()
        found = alternate(
            {
                "prefix": lambda: prefix.run(seen),
                "plain": lambda: plain.run(inputs),
                "zero": lambda: guided.run(inputs | zero),
                "guided": lambda: guided.run(inputs | mask),
            },
            rounds,
        )
    return CostReport(
        command=f"python -m dvla.benchmarks.dom.guide_cost BUNDLE --rounds {rounds}"
        + (f" --threads {threads}" if threads else ""),
        machine=describe_machine(),
        bundle=bundle.manifest.source.name,
        graph_sha256=sha256_file(bundle.onnx_path("denoise")),
        num_steps=bundle.manifest.policy.num_steps,
        threads=threads,
        rounds=rounds,
        prefix=Timing.of(found["prefix"]),
        plain=Timing.of(found["plain"]),
        zero=Timing.of(found["zero"]),
        guided=Timing.of(found["guided"]),
        denoise=compare_samples(
            ("guided", found["guided"]), ("plain", found["plain"]), "denoise", paired=True
        ),
        inference=compare_samples(
            ("guided", found["guided"] + found["prefix"]),
            ("plain", found["plain"] + found["prefix"]),
            "inference",
            paired=True,
        ),
        zero_is_plain=same,
    )


def command(
    bundle: Annotated[Path, tyro.conf.Positional],
    out: Path = Path("rtc-latency.json"),
    rounds: int = 30,
    threads: int | None = None,
) -> None:
    """Compare the guided denoise graph of a bundle with the plain one.

    Args:
        bundle: folder of a bundle.
        out: where the report goes.
        rounds: runs of each graph.
        threads: of the engines; the backend chooses when not given.
    """
    with tempfile.TemporaryDirectory(dir=bundle.absolute().parent) as folder:
        report = measure(read_bundle(bundle), Path(folder), rounds, threads)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    for comparison in (report.denoise, report.inference):
        cost = 1.0 / comparison.speedup - 1.0
        print(f"{comparison_text(comparison)}; the mask costs {cost:.2%}")
    print(f"zero weights are the plain sampler bit for bit: {report.zero_is_plain}")


def main() -> None:
    """Run the command line."""
    sys.exit(run_main(lambda: tyro.cli(command)))


if __name__ == "__main__":
    main()
