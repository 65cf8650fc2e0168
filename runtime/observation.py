"""The observation: what one inference sees, with one capture time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Images, state and instruction with one capture time.

    Attributes:
        images: by feature name (``observation.images.opst_cam``): uint8 (n_obs, h, w, 3) RGB, in
            history order (oldest first).
        state: (n_obs, S) float32 [m, rad]: x, y, z, rx, ry, rz in the robot base frame,
            interpolated to the capture times of the frames; rx and rz in [0, 2 pi).
        instruction: what the arm is to do.
        token_ids: overrides the instruction with token ids, where given.
        t_obs_ns: capture time of the newest frame, host monotonic clock.
        history_offset_ns: captured minus wanted time of each history frame, oldest first.
        privileged: true simulator state for the labelled oracle alone; networks never see it.
    """

    images: Mapping[str, NDArray[np.uint8]]
    state: NDArray[np.float32]
    instruction: str = ""
    token_ids: tuple[int, ...] | None = None
    t_obs_ns: int = 0
    history_offset_ns: tuple[int, ...] = ()
    privileged: Any = None
