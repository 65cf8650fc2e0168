"""An engine of a bundle as a subject: end to end, and where it can be told what each graph took."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.fixtures import Case
from dvla.benchmarks.report.schema import DENOISE, END_TO_END, VISION_PREFIX
from dvla.engines.registry import engine_class
from dvla.runtime.policy import Policy


class EngineSubject:
    """A loaded policy on one backend.

    Args:
        bundle: folder of the bundle.
        backend: name of the backend.
        case: what every run computes.
        threads: of one inference.
    """

    def __init__(self, policy: Policy, backend: str, case: Case, threads: int) -> None:
        self.name = backend
        self.is_peer = False
        self.threads = threads
        self._policy = policy
        self._case = case
        self.actions: NDArray[np.float32] | None = None

    @property
    def policy(self) -> Policy:
        """The loaded policy."""
        return self._policy

    @property
    def precision(self) -> str:
        """The number formats of the graphs, one word where they agree."""
        return "+".join(sorted(set(self.precisions.values())))

    @property
    def precisions(self) -> dict[str, str]:
        """The number format of each graph's arithmetic."""
        pipeline = self._policy.pipeline
        return {
            engine.graph.name: engine.precision for engine in (pipeline.prefix, pipeline.denoise)
        }

    @property
    def description(self) -> str:
        """Library, version, device and options."""
        identity = engine_class(self.name).identity()
        options = ", ".join(f"{key} {value}" for key, value in sorted(identity.options.items()))
        return (
            f"{identity.backend} {identity.version} on {identity.device} ({identity.capability}), "
            f"{self.precision}, {options or 'no options'}, idle threads sleep"
        )

    def run(self) -> dict[str, float]:
        """Infer once; return seconds by part, of which engines that run as one have none."""
        started_s = time.perf_counter()
        chunk = self._policy.predict(self._case.observation, noise=self._case.noise)
        end_to_end_s = time.perf_counter() - started_s
        self.actions = chunk.actions
        whole, pipeline = {END_TO_END: end_to_end_s}, self._policy.pipeline
        if pipeline.chained:
            return whole
        prefix_s, denoise_s = pipeline.prefix.last_run_s, pipeline.denoise.last_run_s
        return {VISION_PREFIX: prefix_s, DENOISE: denoise_s} | whole

    def close(self) -> None:
        """Free the engines."""
        self._policy.close()
