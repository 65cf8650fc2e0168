"""Limits of the replaying arm (``--robot replay``).

They are those of no arm in particular: speeds of the fastest that DVLA drives, in a workspace as
wide as any. What they reject in a replay, every arm would have rejected.
"""

from __future__ import annotations

import msgspec

from dvla.runtime.limits import Workspace
from dvla.runtime.robots.franka import FRANKA_TWIN_LIMITS

REPLAY_LIMITS = msgspec.structs.replace(
    FRANKA_TWIN_LIMITS,
    workspace=Workspace(lower=(-1.5, -1.5, -0.5), upper=(1.5, 1.5, 1.5)),
    joints=None,
)
