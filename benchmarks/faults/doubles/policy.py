"""A policy process whose chunks go wrong on their way to the scheduler, or whose engine does."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.faults.doubles.trigger import Trigger
from dvla.runtime.chunk import Chunk
from dvla.runtime.observation import Observation
from dvla.runtime.policy_api import ChunkPolicy, WrappedPolicy
from dvla.runtime.processes import policy
from dvla.runtime.processes.child import run_child
from dvla.runtime.processes.settings import Settings
from dvla.runtime.replay.scheduler_journal import JournaledScheduler
from dvla.runtime.scheduler_state import DiscardReason

S = 1_000_000_000
TRIGGER = Trigger()
make_policy = policy.make_policy


class HostileScheduler(JournaledScheduler):
    """Hands on chunks that are not what the policy made."""

    _last: Chunk | None = None

    def on_chunk(self, chunk: Chunk, now_ns: int) -> DiscardReason | None:
        """Spoil a chunk, then take it."""
        spoilt = spoil(TRIGGER.kind, chunk, self._last) if TRIGGER.pulled else chunk
        self._last = chunk
        verdict = super().on_chunk(spoilt, now_ns)
        if TRIGGER.pulled and TRIGGER.kind == "duplicated_chunk":
            super().on_chunk(spoilt, now_ns)
        return verdict


def spoil(kind: str, chunk: Chunk, last: Chunk | None) -> Chunk:
    """Return what becomes of a chunk."""
    actions = np.array(chunk.actions)
    match kind:
        case "nan_chunk":
            actions[7, 1] = np.nan
        case "huge_chunk":
            actions[:, :3] = 1e3
        case "jumping_chunk":
            actions[:, 0] += 0.056 * (-1) ** chunk.sequence
        case "leaving_chunk":
            actions[:, 2] = -0.3
        case "tilting_chunk":
            actions[:, 2:5] = 0.02, np.pi, 1.6  # z [m], rx and ry [rad]
        case "stale_chunk":
            return msgspec.structs.replace(chunk, t_obs_ns=chunk.t_obs_ns - 5 * S)
        case "future_chunk":
            return msgspec.structs.replace(chunk, t_obs_ns=chunk.t_obs_ns + S)
        case "other_episode_chunk":
            return msgspec.structs.replace(chunk, generation=chunk.generation - 1)
        case "reordered_chunk" if last is not None:
            return msgspec.structs.replace(last, sequence=chunk.sequence)
        case "wrong_shape_chunk":
            actions = actions[:, :6]
    return msgspec.structs.replace(chunk, actions=actions)


class FailingPolicy(WrappedPolicy):
    """A policy whose engine runs out of memory."""

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        """Infer, until there is no memory left."""
        if TRIGGER.pulled:
            raise MemoryError("the engine could not allocate 1.6 GiB")
        return super().predict(observation, noise, seed)


def hostile_policy(settings: Settings) -> ChunkPolicy:
    """Return the run's policy, failing where that is the fault."""
    inner = make_policy(settings)
    return FailingPolicy(inner) if TRIGGER.kind == "engine_out_of_memory" else inner


if __name__ == "__main__":
    policy.JournaledScheduler = HostileScheduler  # type: ignore[attr-defined]
    policy.make_policy = hostile_policy
    run_child("policy", policy.body)
