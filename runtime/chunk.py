"""The chunk: the H actions of one inference."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """The H actions of one inference, absolute, on the grid of the control period.

    Attributes:
        actions: (H, A) float32 [m, rad, -]: x, y, z, rx, ry, rz (extrinsic xyz Euler, robot base
            frame, rx and rz unwrapped near the observation's state), gripper (+1 open, -1 closed).
        t_obs_ns: capture time of the newest frame of the observation, host monotonic clock.
        inference_s: duration of the inference that made it.
        control_period_s: spacing T of the actions.
        sequence: number of the inference within its session, from 0.
        generation: episode generation; a new instruction or episode makes older chunks void.
    """

    actions: NDArray[np.float32]
    t_obs_ns: int
    inference_s: float
    control_period_s: float
    sequence: int = 0
    generation: int = 0
