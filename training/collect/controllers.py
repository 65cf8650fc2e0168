"""Who moves the arm while episodes are recorded: the expert, disturbed or led astray, or a policy.

What is recorded as the right answer is the expert's in every case; these decide only which states
are visited. A cloned policy leaves the expert's states within a few steps, so most of the value
lies in the states off them.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.chunk import Chunk
from dvla.runtime.observation import Observation
from dvla.runtime.oracle.expert import Rollout
from dvla.runtime.oracle.policy import OraclePolicy
from dvla.runtime.policy_api import ChunkPolicy, WrappedPolicy
from dvla.runtime.twin.objects import EpisodeSpec
from dvla.runtime.twin.scenes.recall import spec_of
from dvla.runtime.twin.scenes.spec import SceneSpec
from dvla.runtime.twin.snapshot import TwinSnapshot


class DisturbedPolicy(WrappedPolicy):
    """Adds small jitter to every chunk, and now and then a short burst.

    Persistent noise of some centimetres destroys the expert's own success; short bursts do not,
    and show how to recover.

    Args:
        policy: whose chunks are disturbed.
        seed: of the noise.
        jitter_m: standard deviation of the offset of a chunk [m].
        burst_m: the same within a burst.
        burst_rate: share of chunks that begin one.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        seed: int,
        *,
        jitter_m: float = 0.004,
        burst_m: float = 0.03,
        burst_rate: float = 0.06,
    ) -> None:
        super().__init__(policy)
        self._rng = np.random.default_rng((seed, 0xD157))
        self._jitter_m, self._burst_m, self._burst_rate = jitter_m, burst_m, burst_rate

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        """Return the policy's chunk, moved by an offset that fades in over four steps."""
        chunk = super().predict(observation, noise, seed)
        burst = self._rng.random() < self._burst_rate
        offset = self._rng.normal(0.0, self._burst_m if burst else self._jitter_m, 3)
        fade = np.minimum(1.0, np.arange(1, self.chunk_size + 1) / 4.0)
        actions = chunk.actions.copy()
        actions[:, :3] += (fade[:, None] * offset).astype(np.float32)
        return Chunk(
            actions=actions,
            t_obs_ns=chunk.t_obs_ns,
            inference_s=chunk.inference_s,
            control_period_s=chunk.control_period_s,
        )


class DecoyPolicy(OraclePolicy):
    """The expert, after a thing that nobody asked for, or not yet, where there is one.

    How the arm moves while the expert itself moves it tells which thing is meant, and a policy that
    is trained on that alone need never read the instruction.

    Args:
        seed: of the draw among the things.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._draw = float(np.random.default_rng((seed, 0xDEC0)).random())

    def _rollout(self, snapshot: TwinSnapshot) -> Rollout:
        """Return the expert's rollout to the decoy."""
        spec = spec_of(snapshot)
        if not has_decoy(spec):
            return super()._rollout(snapshot)
        first = 1 + spec.delivered
        decoy = first + int(self._draw * (len(spec.things) - first))
        return Rollout(self._config, spec.things[decoy], snapshot, decoy)


def has_decoy(spec: EpisodeSpec | SceneSpec) -> TypeGuard[SceneSpec]:
    """Return whether something lies on the table that is not to be taken first."""
    return isinstance(spec, SceneSpec) and len(spec.things) > 1 + spec.delivered


class TakeOver(WrappedPolicy):
    """Lets a learner act until a time of the episode, and the expert after it.

    Args:
        learner: acts first.
        expert: takes over.
        after_s: when, from the first observation on [s].
    """

    def __init__(self, learner: ChunkPolicy, expert: ChunkPolicy, after_s: float) -> None:
        super().__init__(learner)
        self._expert, self._after_s = expert, after_s
        self._first_ns: int | None = None

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        """Return the chunk of whoever acts at the observation's time."""
        if self._first_ns is None:
            self._first_ns = observation.t_obs_ns
        learning = (observation.t_obs_ns - self._first_ns) / 1e9 < self._after_s
        return (self._inner if learning else self._expert).predict(observation, noise, seed)

    def reset(self) -> None:
        """Forget everything of the episode so far."""
        self._first_ns = None
        super().reset()
        self._expert.reset()
