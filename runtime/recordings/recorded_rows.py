"""Rows of ``recorded.npy``: the steps of the episode that a run replayed."""

from __future__ import annotations

import numpy as np

RECORDED_STEP = np.dtype(
    [
        ("t_s", "<f8"),  # from the episode's beginning
        ("action", "<f4", (7,)),  # absolute [m, rad, -], as recorded
        ("measured", "<f8", (8,)),  # setpoint layout
    ]
)
