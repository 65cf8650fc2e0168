"""The ways to run the model that are measured, each made in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dvla.engines.bundle import REFERENCE_NAME, read_bundle
from dvla.engines.cache import FP32, RUNNING_GRAPHS
from dvla.engines.errors import MissingDependency
from dvla.engines.manifest import EngineRecord
from dvla.engines.pipeline import ActionPipeline
from dvla.engines.selection import key_here
from dvla.engines.torch_library import library
from dvla.export.progress import Progress
from dvla.export.reference import Reference, load_reference

# In the order in which they are measured: what matters most comes first.
SUBJECTS: dict[str, tuple[str, str]] = {
    "eager-fp32": ("eager", "fp32"),
    "eager-bf16": ("eager", "bf16"),
    "aoti-graph-bf16": ("torch", "bf16"),
    "tensorrt-bf16": ("tensorrt", "bf16"),
    "torch-compile-bf16": ("compile", "bf16"),
    "aoti-graph-fp16": ("torch", "fp16"),
    "tensorrt-fp16": ("tensorrt", "fp16"),
    "aoti-fp32": ("torch", "fp32"),
}
GPU_ONLY = ("aoti-graph-bf16", "aoti-graph-fp16", "tensorrt-bf16", "tensorrt-fp16")
Parts = dict[str, Callable[[], object]]


class Subject(Protocol):
    """Something that maps a case of the reference to actions."""

    description: str
    build_s: float
    load_s: float

    @property
    def backend(self) -> str | None:
        """The engine that a fresh process may load, where there is one."""

    def run(self, case: int) -> NDArray[np.float32]:
        """Infer once, from arrays on the host to actions (H, A) on the host."""

    def parts(self) -> Parts:
        """Return the parts, each to be run alone."""


def make_subject(name: str, checkpoint: Path, bundle: Path, device: str) -> Subject:
    """Return a loaded subject; raise a MissingDependency where this machine has not what it needs.

    Args:
        name: of ``SUBJECTS``.
        checkpoint, bundle: of the same weights.
        device: ``cuda`` or ``cpu``.
    """
    kind, precision = SUBJECTS[name]
    if name in GPU_ONLY and device != "cuda":
        raise MissingDependency(f"{name} needs a GPU", got=device)
    reference = load_reference(bundle / REFERENCE_NAME)
    if kind == "eager":
        return Eager(checkpoint, reference, precision, device)
    if kind == "compile":
        return Compiled(bundle, reference, precision, device)
    return BundleEngine(bundle, reference, kind, precision)


class Eager:
    """The torch model as its users run it; bf16 through autocast."""

    backend = None

    def __init__(self, checkpoint: Path, reference: Reference, precision: str, device: str) -> None:
        from dvla.export.checkpoint import load_policy

        torch, started_s = library(), time.perf_counter()
        self._reference, self._device, self.build_s = reference, device, 0.0
        self._autocast = (
            torch.autocast(device, torch.bfloat16) if precision == "bf16" else nullcontext()
        )
        self.model = load_policy(checkpoint).to(device)
        self.load_s = time.perf_counter() - started_s
        self.description = f"torch {torch.__version__} eager on {device}, {precision}"

    def _inputs(self, case: int) -> tuple[Any, ...]:
        torch, r = library(), self._reference
        mask = r.token_mask[case]
        keys = self.model.config.image_keys
        frames = {
            key: torch.from_numpy(frame)[None].to(self._device)
            for key, frame in zip(keys, r.frames[case], strict=True)
        }
        return (
            frames,
            torch.from_numpy(r.token_ids[case][mask])[None].to(self._device),
            torch.from_numpy(r.state[case])[None, None].to(self._device),
            torch.from_numpy(r.noise[case])[None].to(self._device),
        )

    def _here(self) -> AbstractContextManager[Any]:
        return library().device(self._device)  # type: ignore[no-any-return]

    def _vision(self, frames: Any) -> Any:
        return self.model.embed_images(self.model.prepare_images(frames))

    def _prefix(self, images: Any, tokens: Any, state: Any) -> tuple[Any, Any]:
        torch = library()
        everything = torch.ones_like(tokens, dtype=torch.bool)
        embedded, mask = self.model.embed_prefix(images, tokens, everything, state)
        return self.model.prefix_cache(embedded, mask), mask

    def run(self, case: int) -> NDArray[np.float32]:
        """Infer once."""
        with library().inference_mode(), self._here(), self._autocast:
            frames, tokens, state, noise = self._inputs(case)
            cache, mask = self._prefix(self._vision(frames), tokens, state)
            sampled = self.model.sample_actions(cache, mask, noise)
            actions = self.model.unnormalize_actions(sampled.float())
            return np.asarray(actions[0].cpu().numpy(), np.float32)

    def parts(self) -> Parts:
        """Return vision, prefix and denoise."""
        with library().inference_mode(), self._here(), self._autocast:
            frames, tokens, state, noise = self._inputs(0)
            images = self._vision(frames)
            cache, mask = self._prefix(images, tokens, state)

        def within(work: Callable[[], object]) -> Callable[[], object]:
            def run() -> object:
                with library().inference_mode(), self._here(), self._autocast:
                    return work()

            return run

        return {
            "vision": within(lambda: self._vision(frames)),
            "prefix": within(lambda: self._prefix(images, tokens, state)),
            "denoise": within(lambda: self.model.sample_actions(cache, mask, noise)),
        }


class Compiled:
    """``torch.compile`` of the bundle's typed graphs: the same modules as AOTInductor gets."""

    backend = None

    def __init__(self, bundle: Path, reference: Reference, precision: str, device: str) -> None:
        from dvla.export.denoise_module import denoise_modules
        from dvla.export.onnx_module import Graph
        from dvla.export.tensorrt_plans import typed_folder
        from dvla.export.typed import write_typed

        torch, started_s = library(), time.perf_counter()
        opened = read_bundle(bundle)
        with typed_folder(bundle) as folder:
            for graph in ("prefix", "step"):
                write_typed(opened.onnx_path(graph), folder / f"{graph}.onnx", precision)
            prefix = Graph(folder / "prefix.onnx").module()
            once, step = denoise_modules(folder / "step.onnx", opened.onnx_path("denoise"))
        mode = "reduce-overhead" if device == "cuda" else "default"
        self._prefix, self._once, self._step = (
            torch.compile(module.to(device).eval(), mode=mode) for module in (prefix, once, step)
        )
        self._reference, self._device = reference, device
        self._inputs_of = {g: [s.name for s in opened.graph(g).inputs] for g in ("prefix",)}
        self.load_s = time.perf_counter() - started_s
        started_s = time.perf_counter()
        self.run(0)
        self.build_s = time.perf_counter() - started_s
        self.description = f"torch {torch.__version__} compile ({mode}) on {device}, {precision}"

    def _arrays(self, case: int, names: list[str]) -> list[Any]:
        torch, r = library(), self._reference
        return [torch.from_numpy(np.array(getattr(r, n)[case])).to(self._device) for n in names]

    def _denoise(self, keys: Any, values: Any, case: int) -> Any:
        names = ["token_mask", "noise", "prev_actions", "prev_weight"]
        mask, noise, *guide = self._arrays(case, names)
        table, *shared = (t.clone() for t in self._once(keys, values, mask, noise, *guide))
        x, actions = noise, None
        for row in table:
            library().compiler.cudagraph_mark_step_begin()
            x, actions = (t.clone() for t in self._step(x, row.clone(), *shared))
        return actions

    def run(self, case: int) -> NDArray[np.float32]:
        """Infer once."""
        with library().no_grad():
            found = self._prefix(*self._arrays(case, self._inputs_of["prefix"]))
            keys, values = (each.clone() for each in found)
            actions = self._denoise(keys, values, case)
            return np.asarray(actions.cpu().numpy(), np.float32)

    def parts(self) -> Parts:
        """Return prefix and denoise."""
        with library().no_grad():
            inputs = self._arrays(0, self._inputs_of["prefix"])
            keys, values = (each.clone() for each in self._prefix(*inputs))

        def within(work: Callable[[], object]) -> Callable[[], object]:
            def run() -> object:
                with library().no_grad():  # As in ``run``: anything else is compiled anew.
                    return work()

            return run

        return {
            "prefix": within(lambda: self._prefix(*inputs)),
            "denoise": within(lambda: self._denoise(keys, values, 0)),
        }


class BundleEngine:
    """An engine as a robot loads it: compiled, judged by the gate, stored, loaded again."""

    def __init__(self, bundle: Path, reference: Reference, backend: str, precision: str) -> None:
        from dvla.engines.registry import engine_class
        from dvla.export.engine_trials import compile_engine, record_engines
        from dvla.export.gate import verify

        engine = engine_class(backend)
        if not engine.can_run():
            raise MissingDependency(f"{backend} cannot run here", got=engine.identity().version)
        engine.check_precision(precision)
        started_s = time.perf_counter()
        opened, self._reference = read_bundle(bundle), reference
        if engine.compiled_by_export:
            compile_engine(opened, engine, dict.fromkeys(RUNNING_GRAPHS, precision), Progress())
        self.build_s = time.perf_counter() - started_s
        precisions = dict.fromkeys(RUNNING_GRAPHS, precision)
        self.pipeline = ActionPipeline.of_bundle(opened, engine, precision=precisions)
        started_s = time.perf_counter()
        self.pipeline.load()
        self.pipeline.warm_up()
        self.load_s = time.perf_counter() - started_s
        facts, statistics = opened.manifest.policy, opened.manifest.normalisation
        found = verify(self.pipeline, reference, facts, statistics, reduced=precision != FP32)
        if found.passed:  # Then a fresh process may load it, which is the cold start.
            record = EngineRecord(
                key=key_here(opened, engine, precisions), status="verified", verification=found
            )
            record_engines(opened, (record,))
        self.backend = backend if found.passed else None
        identity = engine.identity()
        refused = "; ".join(found.findings) or f"{found.relative_error:.1e}"
        verdict = "" if found.passed else f"; the gate refuses it: {refused}"
        self.description = (
            f"{backend} {identity.version} on {identity.device}, {precision}{verdict}"
        )

    def run(self, case: int) -> NDArray[np.float32]:
        """Infer once."""
        r = self._reference
        return self.pipeline.run(
            r.frames[case], r.token_ids[case], r.token_mask[case], r.state[case], r.noise[case]
        )

    def parts(self) -> Parts:
        """Return the engines alone, outside of their common graph."""
        return {
            engine.graph.name: engine.warm_up
            for engine in (self.pipeline.prefix, self.pipeline.denoise)
        }
