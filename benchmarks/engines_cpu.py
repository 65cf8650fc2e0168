"""Measure the CPU engines of a bundle beside eager torch: engines, precisions, then options.

Run ``python -m dvla.benchmarks.engines_cpu --bundle B --model CKPT --output FILE``. Everything
runs in one process, in turns, from uint8 frames to actions; ratios are of runs of the same turn, so
that another program on the machine slows both sides. Options are told to OpenVINO one at a time,
each paired with the engine as it ships.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tyro

from dvla.engines.base import EngineOptions
from dvla.engines.bundle import REFERENCE_NAME, Bundle, read_bundle
from dvla.engines.cache import complete_precision
from dvla.engines.pipeline import ActionPipeline
from dvla.engines.registry import engine_class
from dvla.runtime.machine import describe_machine

GFLOP_PER_CHUNK = 204.0
Seconds = tuple[float | None, float | None, float]
"""Of prefix, denoise and both; the parts of what runs as one are not known."""
Run = Callable[[int], Seconds]
OPTIONS: dict[str, dict[str, Any]] = {
    "threads pinned": {"ENABLE_CPU_PINNING": True},
    "snippets on (wrong for some shapes)": {"SNIPPETS_MODE": "ENABLE"},
    "denormals flushed": {"CPU_DENORMALS_OPTIMIZATION": True},
    "throughput hint": {"PERFORMANCE_HINT": "THROUGHPUT"},
    "one thread": {"INFERENCE_NUM_THREADS": 1},
}


class Engines:
    """A loaded pipeline, run on the bundle's own reference.

    Args:
        bundle: the bundle.
        backend: name of the backend.
        precision: by graph.
        threads: of one inference.
        extra: properties for OpenVINO beyond its engine's own.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: str,
        precision: dict[str, str],
        threads: int,
        extra: dict[str, Any] | None = None,
    ) -> None:
        from dvla.export.reference import load_reference

        engine: Any = engine_class(backend)
        if extra:
            shipped = engine._properties
            told = {"_properties": lambda self: shipped(self) | extra}
            engine = type("Optioned", (engine,), told)
        self._reference = load_reference(bundle.path / REFERENCE_NAME)
        self._std = np.array(bundle.manifest.normalisation.action_std)
        options = EngineOptions(threads=threads)
        self.pipeline = ActionPipeline.of_bundle(bundle, engine, options, precision)
        if extra:  # A stored graph was compiled without them.
            self.pipeline.prefix.compiled = self.pipeline.denoise.compiled = None
        self.pipeline.load()
        self.pipeline.warm_up()
        self.errors: list[Any] = []

    def __call__(self, turn: int) -> Seconds:
        """Run one case; return how long it took."""
        case, r = turn % len(self._reference), self._reference
        started_s = time.perf_counter()
        actions = self.pipeline.run(
            r.frames[case], r.token_ids[case], r.token_mask[case], r.state[case], r.noise[case],
            r.prev_actions[case], r.prev_weight[case],
        )  # fmt: skip
        whole_s = time.perf_counter() - started_s
        self.errors.append(np.abs(actions - r.actions[case]) / self._std)
        if self.pipeline.chained:
            return None, None, whole_s
        return self.pipeline.prefix.last_run_s, self.pipeline.denoise.last_run_s, whole_s


def eager(bundle: Bundle, model: Path) -> Run:
    """Return a run of the torch model on the same cases."""
    from dvla.export.checkpoint import load_policy
    from dvla.export.reference import load_reference, with_actions

    policy, reference = load_policy(model), load_reference(bundle.path / REFERENCE_NAME)

    def run(turn: int) -> Seconds:
        case = turn % len(reference)
        names = [n for n in reference.__struct_fields__ if n != "source"]
        one = {name: getattr(reference, name)[case : case + 1] for name in names}
        _, seconds = with_actions(msgspec.structs.replace(reference, **one), policy)
        return None, None, seconds

    return run


def in_turns(runs: dict[str, Run], turns: int, peer: str) -> dict[str, Any]:
    """Run all in turns; return seconds by part and the median ratio to the peer of each turn."""
    seconds: dict[str, list[Seconds]] = {name: [] for name in runs}
    for turn in range(turns):
        for name, run in runs.items():
            seconds[name].append(run(turn))
    whole = {name: np.array([both for _, _, both in s]) for name, s in seconds.items()}
    report: dict[str, Any] = {}
    for name, run in runs.items():
        report[name] = {
            "end_to_end_s": {"min": whole[name].min(), "p50": float(np.median(whole[name]))},
            **_part_medians(seconds[name]),
            "times_as_fast_p50": float(np.median(whole[peer] / whole[name])),
            "times_as_fast_of_minima": float(whole[peer].min() / whole[name].min()),
            "gflop_per_s_at_min": float(GFLOP_PER_CHUNK / whole[name].min()),
        }
        if isinstance(run, Engines):
            deviations = np.concatenate(run.errors)
            report[name]["load_s"] = run.pipeline.prefix.load_s + run.pipeline.denoise.load_s
            report[name]["error_in_deviations_p99"] = float(np.percentile(deviations, 99))
    return report


def _part_medians(seconds: list[Seconds]) -> dict[str, float]:
    """Return the median of each part that is known."""
    columns = zip(("prefix_p50_s", "denoise_p50_s"), zip(*seconds, strict=True), strict=False)
    return {name: float(np.median(own)) for name, own in columns if None not in own}


def measure(bundle: Path, model: Path, output: Path, turns: int = 5, threads: int = 2) -> None:
    """Measure and write one JSON file.

    Args:
        bundle: an exported full-size bundle.
        model: its checkpoint, for the eager peer.
        output: file of the result.
        turns: runs of each subject after its warm-up.
        threads: of every subject, the peer included.
    """
    from dvla.export.torch_ import torch

    torch.set_num_threads(threads)
    opened, machine = read_bundle(bundle), describe_machine()
    run_eager = eager(opened, model)
    run_eager(0)
    fp32, bf16 = complete_precision(None), dict.fromkeys(("prefix", "denoise"), "bf16")
    mixed = {"prefix bf16": {"prefix": "bf16"}, "denoise bf16": {"denoise": "bf16"}, "bf16": bf16}
    report: dict[str, Any] = {"engines": {}, "options": {}}

    def save() -> None:
        document = {
            "command": f"python -m dvla.benchmarks.engines_cpu --turns {turns} --threads {threads}",
            "machine": msgspec.to_builtins(machine),
            "load_1m_at_end": os.getloadavg()[0],
            "threads": threads,
            "turns": turns,
            "source_sha256": opened.manifest.source.sha256,
            "gflop_per_chunk": GFLOP_PER_CHUNK,
            **report,
        }
        output.write_text(json.dumps(document, indent=2, default=float) + "\n")

    def compared(name: str, **subjects: tuple[str, dict[str, str]]) -> None:
        made = {
            n.replace("_", " "): Engines(opened, b, p, threads) for n, (b, p) in subjects.items()
        }
        report["engines"][name] = in_turns({"eager": run_eager, **made}, turns, "eager")
        for each in made.values():
            each.pipeline.close()
        save()

    compared("fp32", onnxruntime=("onnxruntime", fp32), openvino=("openvino", fp32))
    for name, precision in mixed.items():
        compared(name, openvino=("openvino", precision))
    base = Engines(opened, "openvino", fp32, threads)
    for name, extra in OPTIONS.items():
        variant = Engines(opened, "openvino", fp32, threads, extra)
        report["options"][name] = in_turns({"as shipped": base, name: variant}, turns, "as shipped")
        variant.pipeline.close()
        save()


if __name__ == "__main__":
    tyro.cli(measure)
