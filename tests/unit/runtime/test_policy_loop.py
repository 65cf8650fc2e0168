"""The policy loop: what it waits for before it infers."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np
from arm_doubles import EventList

from dvla.runtime.chunk import Chunk
from dvla.runtime.config import SchedulerConfig
from dvla.runtime.observation import Observation
from dvla.runtime.policy_loop import PolicyLoop
from dvla.runtime.scheduler import Scheduler

PERIOD_NS = 40_000_000


class Cameras:
    """An assembler with a frame of every control period."""

    now_ns = 0

    def newest_t_ns(self) -> int:
        return self.now_ns - self.now_ns % PERIOD_NS

    def assemble(self, instruction: str, *, not_before_ns: int, privileged: Any) -> Observation:
        state = np.zeros((1, 6), np.float32)
        at_ns = self.newest_t_ns()
        return Observation(images={}, state=state, t_obs_ns=at_ns, privileged=privileged)


class Seeing:
    """A policy that keeps what it was shown, and never ends an inference."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def predict(self, observation: Observation) -> None:
        self.seen.append(observation)

    def submit(self, work: Any) -> Future[Chunk]:
        work()
        return Future()


def looking() -> tuple[PolicyLoop, Cameras, Seeing]:
    cameras, policy = Cameras(), Seeing()
    scheduler = Scheduler(
        SchedulerConfig(), chunk_size=20, control_period_ns=PERIOD_NS, sink=EventList()
    )
    loop = PolicyLoop(policy, cameras, scheduler, runner=policy)  # type: ignore[arg-type]
    cameras.now_ns = 2 * PERIOD_NS
    return loop, cameras, policy


def test_without_the_true_state_the_oracle_waits_and_says_so() -> None:
    loop, cameras, policy = looking()
    truths: dict[int, object] = {}
    loop.tick(cameras.now_ns, truths.get)
    assert not policy.seen and "true state" in loop.unready
    truths[2 * PERIOD_NS] = "the world"
    cameras.now_ns += 4_000_000
    loop.tick(cameras.now_ns, truths.get)
    assert [observation.privileged for observation in policy.seen] == ["the world"]
    assert not loop.unready


def test_a_network_is_asked_for_nothing_privileged() -> None:
    loop, cameras, policy = looking()
    loop.tick(cameras.now_ns)
    assert [observation.privileged for observation in policy.seen] == [None]
