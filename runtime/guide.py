"""The guide of real-time chunking: what the previous chunk asks for at a new chunk's instants.

While an inference runs, the previous chunk goes on: the actions that fall into that time will have
been executed when the new chunk arrives, so they are kept (weight 1) and the new chunk begins where
the arm will be. Behind them the weight decays exponentially to 0 at the end of the previous chunk:
with n actions that the previous chunk reaches and d of them kept, and c = (n - i) / (n - d + 1),
action i in [d, n) has the weight c (e^c - 1) / (e - 1). (The decay is the one of Black, Galliker,
Levine: Real-Time Execution of Action Chunking Flow Policies, 2025.)

An aged guide counts for less the older its observation is: its weights behind the kept ones are
raised to the control periods between the two observations. Of chunks that follow each other by one
period it is the published guide, and each is worth about as much as the next; of chunks that are
late, and so follow each other seldom, what is seen newly wins sooner.
"""

from __future__ import annotations

from collections import deque

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime import seam
from dvla.runtime.pose import Float64, actions_from_setpoints
from dvla.runtime.timeline import Timeline

GREATEST_POWER = 8.0
"""Of an aged guide: beyond it nothing behind the kept actions is worth anything."""
WINDOW_INFERENCES = 50
"""Latencies that the percentile is of: at 5 inferences a second, the last ten seconds."""
PERCENTILE = 95.0


class Guide(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What guides one inference; arrays are read-only.

    Attributes:
        prev_actions: (H, 7) float32 absolute [m, rad, -], one per action of the new chunk.
        prev_weight: (H,) float32 in [0, 1].
    """

    prev_actions: NDArray[np.float32]
    prev_weight: NDArray[np.float32]

    def __post_init__(self) -> None:
        self.prev_actions.flags.writeable = False
        self.prev_weight.flags.writeable = False

    @property
    def kept_steps(self) -> int:
        """Actions of weight 1."""
        return int(np.count_nonzero(self.prev_weight == 1.0))

    @property
    def guided_steps(self) -> int:
        """Actions of a weight above 0."""
        return int(np.count_nonzero(self.prev_weight))


class LatencyWindow:
    """The latencies of the last inferences, from their begin to the arrival of their chunk."""

    def __init__(self) -> None:
        self._latencies_ns: deque[int] = deque(maxlen=WINDOW_INFERENCES)

    def add(self, latency_ns: int) -> None:
        """Take the latency of one inference."""
        self._latencies_ns.append(latency_ns)

    @property
    def p95_ns(self) -> int | None:
        """The 95th percentile, a latency that occurred; of up to 20 the largest; None of none."""
        if not self._latencies_ns:
            return None
        found = np.percentile(list(self._latencies_ns), PERCENTILE, method="higher")
        return int(found)


def weights(kept: int, reached: int, horizon: int, power: float = 1.0) -> Float64:
    """Return the weights (H,) of a chunk's actions.

    Args:
        kept: d, leading actions that will have been executed when the chunk arrives.
        reached: n, leading actions at whose instants the previous chunk has one.
        horizon: H.
        power: of the decay.
    """
    index = np.arange(horizon)
    decay = (reached - index) / (reached - min(kept, reached) + 1)
    weight = (decay * np.expm1(np.clip(decay, 0.0, 1.0)) / np.expm1(1.0)) ** power
    return np.where(index >= reached, 0.0, np.where(index < kept, 1.0, weight))


def guide_from(
    plan: Timeline, tau_ns: int, arrival_ns: int | None, horizon: int, power: float = 1.0
) -> Guide | None:
    """Return the guide for a chunk whose action i is due at ``tau_ns + i * T``.

    Args:
        plan: what is executed until the chunk arrives, and would be after.
        tau_ns: time base of the chunk.
        arrival_ns: when it arrives at the latest, as far as can be foreseen; when nothing is known,
            everything that the plan reaches is kept.
        horizon: H.
        power: of the decay of the weights.

    Returns:
        The guide, or None where the plan has no action at any of the instants.
    """
    if not len(plan):
        return None
    t_ns = tau_ns + np.arange(horizon) * plan.period_ns
    reached = int(np.count_nonzero(t_ns < plan.end_ns))
    kept = horizon if arrival_ns is None else -(-(arrival_ns - tau_ns) // plan.period_ns)
    weight = weights(max(0, kept), reached, horizon, power)
    # Before its first action the plan says nothing, though it may begin between two instants.
    weight[t_ns < plan.start_ns] = 0.0
    if not weight.any():
        return None
    return Guide(
        prev_actions=actions_from_setpoints(seam.resample(plan, t_ns)),
        prev_weight=weight.astype(np.float32),
    )
