"""What a policy observes in the benchmark: as in a run, of cameras under a virtual clock."""

from __future__ import annotations

import math

from dvla.benchmarks.dom.cameras import FRAMES_KEPT, Exposures, Render, VirtualCamera
from dvla.runtime.assembler import ObservationAssembler
from dvla.runtime.clock import NS_PER_MS, NS_PER_S
from dvla.runtime.errors import StaleObservation
from dvla.runtime.policy_api import ChunkPolicy, WrappedPolicy, history_of
from dvla.runtime.state_buffer import StateBuffer
from dvla.runtime.twin.scene import CAMERAS

CAMERA_PERIOD_NS = 40_000_000
FEATURES = {f"observation.images.{name}": name for name in CAMERAS}
UNREADY_NS = NS_PER_S
"""A loop that has had no observation for as long will have none: the cameras miss no frame."""
_STATES_KEPT_NS = NS_PER_S


def period_ns_of(policy: ChunkPolicy) -> int:
    """Return T, the spacing of a policy's actions [ns]."""
    return round(policy.control_period_s * NS_PER_S)


def state_width_of(policy: object) -> int:
    """Return how many numbers of a state a policy observes: a bundle says; 6 otherwise."""
    facts = getattr(policy, "facts", None)
    if facts is None and isinstance(policy, WrappedPolicy):
        return state_width_of(policy.inner)
    return 6 if facts is None else int(facts.state_width)


def reach_ns(policy: ChunkPolicy) -> int:
    """Return how far back a policy's observations reach [ns]."""
    return -min(history_of(policy)) * period_ns_of(policy)


def frames_kept(policy: ChunkPolicy) -> int:
    """Return how many frames of a camera a policy's observations are made of at most."""
    return max(FRAMES_KEPT, math.ceil(reach_ns(policy) / CAMERA_PERIOD_NS) + 2)


def states_for(policy: ChunkPolicy, tick_ns: int) -> StateBuffer:
    """Return a buffer of the arm's states that covers a policy's observations.

    Args:
        policy: that observes.
        tick_ns: between two states.
    """
    kept_ns = _STATES_KEPT_NS + reach_ns(policy)
    return StateBuffer(capacity=math.ceil(kept_ns / tick_ns))


def assembler_for(
    policy: ChunkPolicy, exposures: Exposures, states: StateBuffer, render: Render | None
) -> ObservationAssembler:
    """Return what makes a policy's observations, as the policy process has it.

    Args:
        policy: that observes.
        exposures: of the cameras.
        states: of the arm.
        render: makes pictures; None for policies that need none.
    """
    cameras = {
        feature: VirtualCamera(exposures, name, render) for feature, name in FEATURES.items()
    }
    return ObservationAssembler(
        cameras,
        states,
        history_steps=history_of(policy),
        control_period_ns=period_ns_of(policy),
        state_width=state_width_of(policy),
    )


class ReadyWatch:
    """Ends an episode whose policy is given nothing to see: its timeout would say nothing of it."""

    def __init__(self) -> None:
        self._ready_ns = 0

    def look(self, unready: str, now_ns: int) -> None:
        """Look at a turn of the policy loop.

        Args:
            unready: why it has no observation; empty when it has one.
            now_ns: when.

        Raises:
            StaleObservation: it has had none for ``UNREADY_NS``.
        """
        if not unready or not self._ready_ns:
            self._ready_ns = now_ns
        if now_ns - self._ready_ns > UNREADY_NS:
            raise StaleObservation(
                f"The policy was given no observation for {UNREADY_NS // NS_PER_MS} ms",
                got=unready,
                expected="frames and states as far back as its history_steps reach",
                next_command="see docs/policies.md for what a policy may observe",
            )
