"""What an arm's twin was sent, turn by turn, as the traced arm wrote it down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.twin.arm_model import ARM_JOINTS

TRACE = "DVLA_FAULT_TRACE"
TRACE_ROW = np.dtype(
    [
        ("t_ns", "<i8"),  # now_ns of the turn
        ("setpoint", "<f8", (8,)),
        ("q", "<f8", (len(ARM_JOINTS),)),  # measured [rad]
    ]
)
SPEED_OVER = 8
"""Turns over which a speed is taken."""


def read_trace(path: Path, last: int = 0) -> NDArray[Any]:
    """Return the rows (n,) of TRACE_ROW; the ``last`` ones only, where that is not 0."""
    try:
        with path.open("rb") as file:
            whole = path.stat().st_size // TRACE_ROW.itemsize
            file.seek(max(0, whole - last) * TRACE_ROW.itemsize if last else 0)
            count = min(last, whole) if last else whole
            return np.fromfile(file, TRACE_ROW, count)
    except OSError:
        return np.zeros(0, TRACE_ROW)


def speed(path: Path) -> float:
    """Return how fast the arm was sent lately [m/s]."""
    rows = read_trace(path, SPEED_OVER)
    if len(rows) < SPEED_OVER:
        return 0.0
    moved = float(np.linalg.norm(rows["setpoint"][-1, :3] - rows["setpoint"][0, :3]))
    return moved / max(1e-3, (int(rows["t_ns"][-1]) - int(rows["t_ns"][0])) / 1e9)
