"""What each exact rewrite gives: the operators that it changes, before and after, in alternation.

``python -m dvla.benchmarks.latency.rewrites --out FILE`` needs no checkpoint. Both sides of a pair
run in one process, turn by turn; before anything is measured they must compute the same to the
limit of the gate. Durations are processor time of one thread, which other programs stretch less
than the clock's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tyro
from numpy.typing import NDArray

from dvla.benchmarks.latency.alternation import alternate
from dvla.benchmarks.latency.rewrite_draft import Half, Pair, Sizes
from dvla.benchmarks.latency.rewrite_pairs import rewrite_pairs
from dvla.benchmarks.report.statistics import Comparison, compare_samples
from dvla.benchmarks.report.store import write_whole
from dvla.benchmarks.session import say
from dvla.engines.cli_errors import run_main
from dvla.engines.errors import ExportMismatch, UsageError
from dvla.runtime.machine import Machine, describe_machine

LIMIT = 1e-4
BACKENDS = ("onnxruntime", "openvino")
_QUANTITY = "processor time"


class RewriteResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rewrite on one backend.

    Attributes:
        name: of the rewrite; done: whether the export does it.
        backend: that ran it.
        relative_error: max|a - b| / max|b| of the two sides.
        before_times, after_times: how often the operators run in a chunk.
        before_s, after_s: their processor time, one per round; empty where nothing is left.
        saved_per_chunk_s: of the medians.
        comparison: of what a chunk spends in them.
    """

    name: str
    done: bool
    backend: str
    relative_error: float
    before_times: int
    after_times: int
    before_s: tuple[float, ...]
    after_s: tuple[float, ...]
    saved_per_chunk_s: float
    comparison: Comparison | None


class RewritesReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All rewrites: the command, the machine with its load before, the dims and the results."""

    command: str
    machine: Machine
    sizes: Sizes
    results: tuple[RewriteResult, ...]


class Compiled:
    """One side of a pair on a backend, run with one thread."""

    def __init__(self, name: str, model: bytes, backend: str, x: NDArray[np.float32]) -> None:
        self.name = name
        compiled = _onnxruntime(model) if backend == "onnxruntime" else _openvino(model)
        self._run: Callable[[NDArray[np.float32]], NDArray[Any]] = compiled
        self._x = x

    def result(self) -> NDArray[Any]:
        """Return what it computes."""
        return self._run(self._x)

    def run(self) -> dict[str, float]:
        """Run once; return the processor time."""
        started_s = time.process_time()
        self._run(self._x)
        return {_QUANTITY: time.process_time() - started_s}


def _onnxruntime(model: bytes) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda x: np.asarray(session.run(["y"], {"x": x})[0])


def _openvino(model: bytes) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    from dvla.engines.openvino_ import core

    properties = {
        "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": "1",
        "SNIPPETS_MODE": "DISABLE",
    }  # fmt: skip
    compiled = core().compile_model(core().read_model(model), "CPU", properties)
    request = compiled.create_infer_request()
    return lambda x: np.asarray(request.infer({"x": x}, share_inputs=True)["y"])


def model_bytes(half: Half, shape: tuple[int, ...]) -> bytes:
    """Return one side of a pair as an ONNX model."""
    from onnx import helper, numpy_helper

    constants = [numpy_helper.from_array(value, name) for name, value in half.constants.items()]
    graph = helper.make_graph(
        half.nodes,
        "half",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info("y", 1, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    encoded: bytes = model.SerializeToString()
    return encoded


def measured(pair: Pair, backend: str, rounds: int, limit: float = LIMIT) -> RewriteResult:
    """Measure one pair on one backend.

    Args:
        pair: of graphs.
        backend: that runs both.
        rounds: each runs both once.
        limit: largest relative error of one against the other.

    Raises:
        ExportMismatch: the two sides do not compute the same.
    """
    x = np.random.default_rng(0).standard_normal(pair.shape).astype(np.float32)
    sides = [Compiled("before", model_bytes(pair.before, pair.shape), backend, x)]
    error = 0.0
    if pair.after is not None:
        sides.append(Compiled("after", model_bytes(pair.after, pair.shape), backend, x))
        before, after = (side.result() for side in sides)
        error = float(np.abs(before - after).max() / np.abs(before).max())
        if not error <= limit:
            raise ExportMismatch(
                f"The two sides of a rewrite differ on {backend}: {pair.name}",
                got=f"relative error {error:.1e}",
                expected=f"at most {limit:g}",
            )
    found = alternate(sides, rounds, warm_up_rounds=2).samples_s
    before_s = found["before"][_QUANTITY]
    after_s = found["after"][_QUANTITY] if pair.after is not None else ()
    after_times = pair.after.times if pair.after is not None else 0
    spent_s = [pair.before.times * np.array(before_s), after_times * np.array(after_s)]
    saved_s = float(np.median(spent_s[0]) - (np.median(spent_s[1]) if after_s else 0.0))
    return RewriteResult(
        name=pair.name,
        done=pair.done,
        backend=backend,
        relative_error=error,
        before_times=pair.before.times,
        after_times=after_times,
        before_s=before_s,
        after_s=after_s,
        saved_per_chunk_s=saved_s,
        comparison=compare_samples(
            ("after", spent_s[1]), ("before", spent_s[0]), _QUANTITY, paired=True
        )
        if after_s
        else None,
    )


def command(out: Path, backend: tuple[str, ...] = BACKENDS, rounds: int = 20) -> None:
    """Measure what each exact rewrite gives, with the shapes of the full size.

    Args:
        out: JSON file of the result.
        backend: to measure on.
        rounds: each runs both sides of a pair once.
    """
    unknown = sorted(set(backend) - set(BACKENDS))
    if unknown or rounds < 1:
        raise UsageError(
            "Nothing can be measured so", got=f"backends {unknown}, {rounds} rounds",
            choices=BACKENDS, next_command="name backends of these, and at least one round",
        )  # fmt: skip
    machine, sizes = describe_machine(), Sizes()
    results = []
    for make in rewrite_pairs(sizes):
        pair = make()
        for name in backend:
            results.append(measured(pair, name, rounds))
            say(f"{name}: {pair.name}: {results[-1].saved_per_chunk_s * 1e3:.2f} ms a chunk")
    report = RewritesReport(
        command="python -m dvla.benchmarks.latency.rewrites "
        f"--backend {' '.join(backend)} --rounds {rounds}",
        machine=machine,
        sizes=sizes,
        results=tuple(results),
    )
    write_whole(out, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    say(f"report: {out}")


if __name__ == "__main__":
    name = "python -m dvla.benchmarks.latency.rewrites"
    sys.exit(run_main(lambda: tyro.cli(command, prog=name)))
