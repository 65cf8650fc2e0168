"""What the arm's own motion was like: when it began, and how rough its commands were."""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.messages import ArmState
from dvla.runtime.twin.scenes.spec import SceneSpec

MOVED_M = 0.002


class DimensionMeasures(TypedDict, total=False):
    """Fields of an episode's result that only scenes of a dimension have."""

    environment: int
    instruction: str
    motion_s: float | None
    jerk_p95: float | None


class MotionMeter:
    """Takes the arm's state after every servo period of an episode."""

    def __init__(self) -> None:
        self._commanded: list[tuple[float, ...]] = []
        self._first: tuple[float, ...] | None = None
        self._moved_ns: int | None = None

    def add(self, now_ns: int, state: ArmState) -> None:
        """Take a state."""
        self._commanded.append(tuple(state.commanded[:3]))
        at = tuple(state.measured[:3])
        if self._first is None:
            self._first = at
        if self._moved_ns is None and math.dist(at, self._first) > MOVED_M:
            self._moved_ns = now_ns

    def since_first_s(self, now_ns: int) -> float | None:
        """Return the time since the arm began to move [s]; None if it never did."""
        return None if self._moved_ns is None else round((now_ns - self._moved_ns) / NS_PER_S, 3)

    def jerk_p95(self, period_s: float) -> float | None:
        """Return the 95th percentile of the jerk of the commanded positions [m/s3]."""
        if len(self._commanded) < 4:
            return None
        jerk = np.diff(np.array(self._commanded), 3, axis=0) / period_s**3
        return round(float(np.percentile(np.linalg.norm(jerk, axis=1), 95)), 2)

    def measures(self, spec: SceneSpec, now_ns: int, period_s: float) -> DimensionMeasures:
        """Return what an episode of a scene tells besides.

        Args:
            spec: of the scene.
            now_ns: when the episode ended.
            period_s: of the servo.
        """
        return {
            "environment": spec.environment,
            "instruction": spec.instruction,
            "motion_s": self.since_first_s(now_ns),
            "jerk_p95": self.jerk_p95(period_s),
        }
