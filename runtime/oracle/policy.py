"""The oracle as a policy: the expert's rollout in the place of a network's chunk."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.chunk import Chunk
from dvla.runtime.errors import StaleObservation
from dvla.runtime.observation import Observation
from dvla.runtime.oracle.expert import ExpertConfig, Rollout
from dvla.runtime.oracle.scene_expert import rollout_of
from dvla.runtime.pose import unwrap_near
from dvla.runtime.twin.snapshot import TwinSnapshot


class OraclePolicy:
    """A ``ChunkPolicy`` that sees the true state of the twin; nothing it does is learned.

    Args:
        config: how the expert moves; as is right for the arm of each observation when None.
        chunk_size: H.
        control_period_s: T [s].
    """

    def __init__(
        self,
        config: ExpertConfig | None = None,
        *,
        chunk_size: int = 20,
        control_period_s: float = 0.04,
    ) -> None:
        self._config = config
        self._chunk_size = chunk_size
        self._control_period_s = control_period_s

    @property
    def chunk_size(self) -> int:
        """H, the number of actions of a chunk."""
        return self._chunk_size

    @property
    def control_period_s(self) -> float:
        """T, the spacing of the actions [s]."""
        return self._control_period_s

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        """Roll the expert out from the observation's true state; noise and seed change nothing.

        Raises:
            StaleObservation: when the observation carries no state of the twin.
        """
        started_s = time.perf_counter()
        snapshot = observation.privileged
        if not isinstance(snapshot, TwinSnapshot):
            raise StaleObservation(
                "The oracle needs the true state of the twin in the observation",
                got=type(snapshot).__name__,
                expected="a TwinSnapshot, which only a simulated arm provides (--sim)",
            )
        rollout = self._rollout(snapshot)
        actions = rollout.run(self._chunk_size, self._control_period_s)
        if observation.state.size:
            actions[:, 3:6:2] = unwrap_near(actions[:, 3:6:2], observation.state[-1, 3:6:2])
        return Chunk(
            actions=actions.astype(np.float32),
            t_obs_ns=observation.t_obs_ns,
            inference_s=time.perf_counter() - started_s,
            control_period_s=self._control_period_s,
        )

    def _rollout(self, snapshot: TwinSnapshot) -> Rollout:
        """Return the expert's rollout from a true state."""
        return rollout_of(self._config, snapshot)

    def reset(self) -> None:
        """Forget nothing: the oracle keeps nothing between chunks."""
