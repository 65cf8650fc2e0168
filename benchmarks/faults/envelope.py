"""Whether a path of setpoints kept the envelope: its own arithmetic, not the gate's.

Divided differences of a path that is within its bounds are within them too, whatever the spacing of
the samples (mean value theorem); so every sample that is over a bound is a fault of the arm.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.limits import ArmLimits

TOLERANCE = 1.03
"""Stamps of turns are whole nanoseconds, and the angular part is a chord."""
MIN_SPACING_NS = 2_000_000
"""Turns that follow a late one come closer together than differences can bear."""


def outside(t_ns: NDArray[Any], setpoints: NDArray[np.float64], limits: ArmLimits) -> int:
    """Count the samples that are outside an envelope.

    Args:
        t_ns: (n,) times of the samples.
        setpoints: (n, 8), sent to the driver.
        limits: of the arm.
    """
    keep = np.isfinite(setpoints).all(axis=1) | ~np.isnan(setpoints).all(axis=1)
    t_ns, setpoints = t_ns[keep], setpoints[keep]
    bad = ~np.isfinite(setpoints).all(axis=1)
    low = np.asarray(limits.workspace.lower) - 1e-6
    high = np.asarray(limits.workspace.upper) + 1e-6
    bad |= ((setpoints[:, :3] < low) | (setpoints[:, :3] > high)).any(axis=1)
    count = int(bad.sum())
    good = setpoints[~bad]
    return count + _too_fast(t_ns[~bad], good, limits)


def _too_fast(t_ns: NDArray[Any], setpoints: NDArray[np.float64], limits: ArmLimits) -> int:
    if len(t_ns) < 3:
        return 0
    chosen = [0]
    for index in range(1, len(t_ns)):
        if t_ns[index] - t_ns[chosen[-1]] >= MIN_SPACING_NS:
            chosen.append(index)
    t_s = (t_ns[chosen] - t_ns[0]) / 1e9
    path = setpoints[chosen]
    step_s = np.diff(t_s)[:, None]
    velocity = np.diff(path[:, :3], axis=0) / step_s
    speed = np.linalg.norm(velocity, axis=1)
    chord = np.linalg.norm(np.diff(path[:, 3:7], axis=0), axis=1)
    flipped = np.linalg.norm(path[1:, 3:7] + path[:-1, 3:7], axis=1)
    turning = 4.0 * np.arcsin(np.clip(np.minimum(chord, flipped) / 2.0, 0.0, 1.0)) / step_s[:, 0]
    middle_s = (step_s[1:] + step_s[:-1]) / 2.0
    change = np.linalg.norm(np.diff(velocity, axis=0) / middle_s, axis=1)
    bounds = limits.envelope
    return int(
        (speed > bounds.linear_velocity * TOLERANCE).sum()
        + (turning > bounds.angular_velocity * TOLERANCE).sum()
        + (change > bounds.linear_acceleration * TOLERANCE).sum()
    )
