"""``--policy stop-and-go``: a small irregular motion about the start, to measure a set-up by.

The arm goes from place to place near where it began and rests in between, for times that never
repeat: what moves together with it, and how late, can be told from such a motion alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.runtime.chunk import Chunk
from dvla.runtime.observation import Observation
from dvla.runtime.pose import unwrap_near

CHUNK_SIZE, PERIOD_S = 20, 0.04
AMPLITUDE_MM, MAX_AMPLITUDE_MM = 60.0, 150.0
SPEED_M_S = 0.15
"""At the fastest moment of a move."""
LEGS = 200
GRIPPER_ALONE = 0.0
"""Neither to open nor to close."""
Float64 = NDArray[np.float64]


class Way:
    """Where the motion is at a time, relative to its start; it rests where it began after the end.

    Args:
        amplitude_m: how far it goes at most, to either side; forth and upwards half of that.
    """

    def __init__(self, amplitude_m: float) -> None:
        random = np.random.default_rng(20)
        low, high = np.array([0.0, -1.0, 0.0]), np.array([0.5, 1.0, 0.5])
        places = np.zeros((LEGS + 1, 3))
        places[1:-1] = amplitude_m * random.uniform(low, high, (LEGS - 1, 3))
        lengths_m = np.linalg.norm(np.diff(places, axis=0), axis=1)
        moves_s = np.maximum(1.875 * lengths_m / SPEED_M_S, 0.2)
        rests_s = random.uniform(0.1, 0.6, LEGS)
        self._places = places
        self._moves_s = moves_s
        self._begins_s = np.concatenate([[0.0], np.cumsum(moves_s + rests_s)[:-1]])

    def __call__(self, t_s: Float64) -> Float64:
        """Return the offsets (n, 3) [m] at times (n,) since the start: minimum-jerk moves."""
        leg = np.searchsorted(self._begins_s, t_s, side="right").clip(1) - 1
        share = np.clip((t_s - self._begins_s[leg]) / self._moves_s[leg], 0.0, 1.0)[:, None]
        smooth = share**3 * (10.0 + share * (6.0 * share - 15.0))
        before, after = self._places[leg], self._places[leg + 1]
        return np.asarray(before + smooth * (after - before))


class StopAndGo:
    """A ``ChunkPolicy`` that looks at nothing but where the arm is at first.

    Args:
        amplitude_m: see ``Way``.
    """

    chunk_size = CHUNK_SIZE
    control_period_s = PERIOD_S
    picture_size = (180, 240)

    def __init__(self, amplitude_m: float) -> None:
        self._way, self._far_m = Way(amplitude_m), 3.0 * amplitude_m
        self._home: Float64 | None = None
        self._start_ns = 0

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        """Return the next actions of the motion.

        It begins anew where the arm is found far off: it was warmed up, or somebody moved it.
        """
        del noise, seed
        pose = observation.state[-1, :6].astype(np.float64)
        away = np.inf if self._home is None else np.linalg.norm(pose[:3] - self._home[:3])
        if self._home is None or away > self._far_m:
            self._home, self._start_ns = pose, observation.t_obs_ns
        home = self._home.copy()
        home[3:6] = unwrap_near(home[3:6], pose[3:6])
        since_s = (observation.t_obs_ns - self._start_ns) * 1e-9
        t_s: Float64 = since_s + PERIOD_S * np.arange(CHUNK_SIZE, dtype=np.float64)
        actions: Float64 = np.tile(np.r_[home, GRIPPER_ALONE], (CHUNK_SIZE, 1))
        actions[:, :3] = home[:3] + self._way(t_s)
        return Chunk(
            actions=actions.astype(np.float32),
            t_obs_ns=observation.t_obs_ns,
            inference_s=0.0,
            control_period_s=PERIOD_S,
        )

    def reset(self) -> None:
        """Go on: to a motion that looks at nothing an episode is nothing new."""


def open_policy(argument: str) -> StopAndGo:
    """Open it as ``stop-and-go[:AMPLITUDE_MM]``.

    Raises:
        UsageError: that is no amplitude it may have.
    """
    try:
        amplitude_mm = float(argument) if argument else AMPLITUDE_MM
    except ValueError:
        amplitude_mm = np.nan
    if not 10.0 <= amplitude_mm <= MAX_AMPLITUDE_MM:
        raise UsageError(
            "--policy stop-and-go:AMPLITUDE_MM goes that far to either side",
            got=repr(argument),
            expected=f"10 to {MAX_AMPLITUDE_MM:g} mm, {AMPLITUDE_MM:g} when not given",
        )
    return StopAndGo(amplitude_mm * 1e-3)
