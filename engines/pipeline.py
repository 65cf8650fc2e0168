"""Frames, tokens, state and noise to actions, through the prefix and the denoise engine.

Arrays only: names of features, units of states and instructions belong to the runtime's policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.engines.base import Engine, EngineOptions
from dvla.engines.bundle import Bundle
from dvla.engines.chain import Chain
from dvla.engines.selection import compiled_store

PREFIX = "prefix"
DENOISE = "denoise"
STEP = "step"


class ActionPipeline:
    """The two engines of a policy, run one after the other.

    Args:
        prefix: frames, tokens and state to the K/V cache.
        denoise: K/V cache and noise to actions; all Euler steps are inside.
    """

    def __init__(self, prefix: Engine, denoise: Engine) -> None:
        self.prefix = prefix
        self.denoise = denoise
        self._chain: Chain | None = None
        self._unguided: dict[str, NDArray[Any]] = {
            spec.name: spec.empty()
            for spec in denoise.graph.inputs
            if spec.name in ("prev_actions", "prev_weight")
        }

    @classmethod
    def of_bundle(
        cls,
        bundle: Bundle,
        engine: type[Engine],
        options: EngineOptions | None = None,
        precision: Mapping[str, str] | None = None,
    ) -> ActionPipeline:
        """Make, without loading, the pipeline of a bundle on a backend.

        Args:
            bundle: the bundle.
            engine: class of both engines.
            options: threads and spinning.
            precision: by graph; float32 where it says nothing.
        """
        store = compiled_store(bundle, engine, precision)
        prefix, denoise = (
            engine(
                bundle.graph(name),
                bundle.onnx_path(name),
                options,
                precision=store.key.precision[name],
                compiled=store,
            )
            for name in (PREFIX, DENOISE)
        )
        return cls(prefix, denoise)

    @property
    def chained(self) -> bool:
        """Whether both run as one, so that neither has a ``last_run_s`` of its own."""
        return self._chain is not None

    def load(self) -> None:
        """Load both engines, as one where the backend can; when one fails, neither stays loaded."""
        try:
            self.prefix.load()
            self.denoise.load()
            if self._chain is None:
                self._chain = self.prefix.chained(self.denoise)
        except BaseException:
            self.close()
            raise

    def warm_up(self) -> None:
        """Run both engines once on zeros; a chain was run when it was made."""
        if self._chain is not None:
            return
        self.prefix.warm_up()
        self.denoise.warm_up()

    def save_compiled(self) -> bool:
        """Keep both graphs compiled in the bundle, and return whether the backend can."""
        return self.prefix.save_compiled() and self.denoise.save_compiled()

    def forget_compiled(self) -> None:
        """Remove from the bundle what ``save_compiled`` kept."""
        for engine in (self.prefix, self.denoise):
            engine.forget_compiled()

    def close(self) -> None:
        """Free both engines."""
        if self._chain is not None:
            self._chain.close()
            self._chain = None
        self.prefix.close()
        self.denoise.close()

    def run(
        self,
        frames: NDArray[np.uint8],
        token_ids: NDArray[np.int64],
        token_mask: NDArray[np.bool_],
        state: NDArray[np.float32],
        noise: NDArray[np.float32],
        prev_actions: NDArray[np.float32] | None = None,
        prev_weight: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Run one inference.

        Args:
            frames: (cameras, n_obs, h, w, 3) uint8 RGB, history oldest first.
            token_ids: (max_length,) int64, padded on the right.
            token_mask: (max_length,) bool, true where a token is.
            state: (S,) float32, the newest, physical units.
            noise: (H, max_action_dim) float32; it is read only.
            prev_actions: (H, A) float32, the future of the previous chunk in the units of the
                result, which guides the sampling.
            prev_weight: (H,) float32 in [0, 1], how much. Without the two, all weights are zero,
                which is the plain sampler.

        Returns:
            (H, A) float32, physical units; offsets where the policy predicts offsets.
        """
        seen: dict[str, NDArray[Any]] = {
            "frames": frames, "token_ids": token_ids, "token_mask": token_mask, "state": state,
        }  # fmt: skip
        inputs = self._unguided | {"token_mask": token_mask, "noise": noise}
        if prev_actions is not None and prev_weight is not None:
            inputs |= {"prev_actions": prev_actions, "prev_weight": prev_weight}
        if self._chain is not None:
            found = self._chain.run(seen | inputs)
        else:
            found = self.denoise.run(self.prefix.run(seen) | inputs)
        actions: NDArray[np.float32] = found["actions"]
        return actions
