"""The teacher: what the expert would do from any state that anybody came into."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.oracle.expert import ExpertConfig
from dvla.runtime.oracle.scene_expert import rollout_of
from dvla.runtime.pose import euler_from_quaternion, unwrap_near
from dvla.runtime.twin.snapshot import TwinSnapshot


def expert_actions(
    snapshot: TwinSnapshot, config: ExpertConfig | None, steps: int, period_s: float
) -> NDArray[np.float32]:
    """Return the expert's commanded poses from a true state.

    They are the rate-limited commands that the arm would be given, not the expert's goals: bounded
    and smooth, so that a network can fit them.

    Args:
        snapshot: the true state.
        config: how the expert moves; as is right for the snapshot's arm when None.
        steps: H.
        period_s: T [s].

    Returns:
        (H, 7) absolute [m, rad, -], angles near those of the measured pose.
    """
    actions = rollout_of(config, snapshot).run(steps, period_s)
    actions[:, 3:6] = unwrap_near(actions[:, 3:6], state_of(snapshot)[3:6])
    return actions.astype(np.float32)


def target_of(snapshot: TwinSnapshot) -> int:
    """Return the number of the object that the expert would take next."""
    return rollout_of(None, snapshot).index if snapshot.scene else 0


def state_of(snapshot: TwinSnapshot) -> NDArray[np.float64]:
    """Return the measured pose (6,) [m, rad] as observations hold it."""
    euler = euler_from_quaternion(snapshot.measured[3:7])
    euler[::2] %= 2.0 * np.pi
    return np.concatenate([snapshot.measured[:3], euler])
