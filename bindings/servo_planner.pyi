import enum

import numpy as np
from numpy.typing import NDArray

from dvla.bindings.action_stream import ActionStream
from dvla.bindings.shaper import PoseShaper
from dvla.bindings.workspace_guard import WorkspaceGuard

REMEMBERED: int  # plans that were sent, at most

class PlanStatus(enum.IntEnum):
    """What the tick's setpoint came from."""

    IDLE = 0  # at rest, nothing to follow
    FOLLOWING = 1  # an action is in force
    STOPPING = 2  # underrun or hold: running the jerk-limited stop

class ServoPlanner:
    """One servo tick without the GIL: refresh, sample, shape, and roll the future forward.

    The first setpoint of the plan is the shaper's next state; the rest is what it would emit over
    the known future of the stream, its stop included. Plans that were sent can be remembered, the
    newest ``REMEMBERED`` of them, and the motion taken back onto one.
    """

    SATURATED_WORKSPACE: int  # the guard moved the target
    SATURATED_BRAKE: int  # the guard braked

    horizon: int
    braking: bool  # plans stop, whatever the stream says
    share: float  # what plans take of the shaper's bounds; to take less the plan has to rest

    def __init__(
        self,
        stream: ActionStream,
        shaper: PoseShaper,
        horizon: int,
        guard: WorkspaceGuard | None = None,
    ) -> None: ...
    def reset(self, setpoint: NDArray[np.float64]) -> None: ...  # (8,), at rest
    def plan(
        self,
        now_ns: int,  # time the first setpoint is due
        setpoints_out: NDArray[np.float64],  # (horizon, 8)
    ) -> PlanStatus: ...
    def remember(self, number: int) -> None: ...  # the newest plan, under a number above 0
    def take_back(self, number: int) -> int | None: ...  # rows of it that have passed
    @property
    def t_obs_ns(self) -> int: ...  # capture time behind the setpoint; 0 when idle
    @property
    def chunk_id(self) -> int: ...  # -1 when idle
    @property
    def saturation(self) -> int: ...  # bits, last plan
    @property
    def saturated_ticks(self) -> int: ...
    @property
    def underruns(self) -> int: ...  # transitions from FOLLOWING into underrun
    @property
    def timeline_sequence(self) -> int: ...
    @property
    def generation(self) -> int: ...
