"""The recorded form of an arm state: fixed bytes, so that a run's motion is one array."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.messages import ArmMode, ArmState

ARM_MODES: tuple[str, ...] = get_args(ArmMode)
MAX_JOINTS = 8

ARM_SAMPLE = np.dtype(
    [
        ("t_ns", "<i8"),
        ("mode", "<i4"),  # index into ARM_MODES
        ("joints", "<i4"),  # valid entries of q
        ("arm_epoch", "<i8"),
        ("command_sequence", "<i8"),
        ("accepted", "<i8"),  # running counts
        ("rejected", "<i8"),
        ("tracking_m", "<f8"),
        ("tracking_rad", "<f8"),
        ("measured", "<f8", (8,)),
        ("commanded", "<f8", (8,)),
        ("twist", "<f8", (6,)),
        ("q", "<f8", (MAX_JOINTS,)),
        ("sequence", "<i8"),
        ("lease_session", "<i8"),
        ("refused_sequence", "<i8"),
    ]
)


def arm_sample(state: ArmState) -> NDArray[Any]:
    """Return one row (1,) of ARM_SAMPLE; values the arm did not report are NaN."""
    row = np.zeros(1, ARM_SAMPLE)
    record = row[0]
    record["t_ns"] = state.t_ns
    record["mode"] = ARM_MODES.index(state.mode)
    record["joints"] = min(len(state.q), MAX_JOINTS)
    record["arm_epoch"] = state.arm_epoch
    record["command_sequence"] = state.command_sequence
    record["refused_sequence"] = state.refused_sequence
    record["accepted"] = state.accepted
    record["rejected"] = min(sum(state.rejected.values()), np.iinfo(np.int64).max)
    record["sequence"] = state.sequence
    record["lease_session"] = state.lease_session
    record["tracking_m"] = state.tracking_m
    record["tracking_rad"] = state.tracking_rad
    for name in ("measured", "commanded", "twist", "q"):
        values = getattr(state, name)[: record[name].size]
        record[name] = np.nan
        record[name][: len(values)] = values
    return row
