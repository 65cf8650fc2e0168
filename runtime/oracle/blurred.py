"""``--policy blurred-oracle:position=8,velocity=45``: the oracle behind eyes that are not perfect.

A network never sees more exactly than its encoder does. What that alone costs, at a latency and
under a schedule, can be told by giving the oracle the same errors: it says how well a policy must
see before its actions are worth improving.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.runtime.chunk import Chunk
from dvla.runtime.observation import Observation
from dvla.runtime.oracle.policy import OraclePolicy
from dvla.runtime.policy_api import WrappedPolicy
from dvla.runtime.policy_entry import NO_PICTURES
from dvla.runtime.twin.snapshot import TwinSnapshot

_LARGEST = 1000.0


class Blur(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How wrong the oracle sees.

    Attributes:
        position: standard deviation of where it sees objects, along x and along y [mm].
        velocity: the same of how fast it sees them move [mm/s].
        correlation: time after which the errors are others [ms]; a network's errors follow from its
            pictures, which change little from one inference to the next.
    """

    position: float = 0.0
    velocity: float = 0.0
    correlation: float = 300.0


class BlurredOracle(WrappedPolicy):
    """An ``OraclePolicy`` that takes every object to be a little beside where it is.

    The errors are an Ornstein-Uhlenbeck process, the same for all objects; heights and attitudes
    are exact. They follow from the seeds of the inferences, so an episode's seed fixes them.

    Args:
        blur: how wrong.
    """

    picture_size = NO_PICTURES

    def __init__(self, blur: Blur) -> None:
        super().__init__(OraclePolicy())
        self._blur = blur
        self._unit: NDArray[np.float64] | None = None
        self._last_ns = 0

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        """Roll the expert out from what is seen at the observation's time.

        Raises:
            StaleObservation: when the observation carries no state of the twin.
        """
        snapshot = observation.privileged
        if isinstance(snapshot, TwinSnapshot):
            position_mm, velocity_mm_s = self._errors(observation.t_obs_ns, seed)
            seen = displaced(snapshot, position_mm * 1e-3, velocity_mm_s * 1e-3)
            observation = msgspec.structs.replace(observation, privileged=seen)
        return super().predict(observation, noise, seed)

    def reset(self) -> None:
        """Forget the errors of the episode so far."""
        super().reset()
        self._unit = None

    def _errors(
        self, now_ns: int, seed: int | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the errors along x and y, (2,) [mm] and (2,) [mm/s]."""
        drawn = np.random.default_rng(seed).standard_normal(4)
        if self._unit is None:
            self._unit = drawn
        else:
            passed_ms = max(0, now_ns - self._last_ns) * 1e-6
            kept = math.exp(-passed_ms / self._blur.correlation)
            self._unit = kept * self._unit + math.sqrt(1.0 - kept * kept) * drawn
        self._last_ns = now_ns
        return self._blur.position * self._unit[:2], self._blur.velocity * self._unit[2:]


def displaced(
    snapshot: TwinSnapshot, offset_m: NDArray[np.float64], velocity_m_s: NDArray[np.float64]
) -> TwinSnapshot:
    """Return a snapshot whose objects are displaced and faster, along x and y.

    Args:
        snapshot: the true state.
        offset_m: (2,) of the positions [m].
        velocity_m_s: (2,) of the velocities [m/s].
    """
    qpos, qvel, others = snapshot.qpos.copy(), snapshot.qvel.copy(), snapshot.others.copy()
    qpos[9:11] += offset_m
    qvel[9:11] += velocity_m_s
    there = others.any(axis=1)
    others[there, :2] += offset_m
    others[there, 7:9] += velocity_m_s
    return msgspec.structs.replace(snapshot, qpos=qpos, qvel=qvel, others=others)


def open_policy(argument: str) -> BlurredOracle:
    """Open it as ``blurred-oracle:NAME=NUMBER,...``; see ``Blur`` for the names and their units.

    Raises:
        UsageError: a name is unknown, or a number is out of bounds.
    """
    try:
        pairs = dict(part.split("=", 1) for part in argument.split(",") if part)
        blur = msgspec.convert({k: float(v) for k, v in pairs.items()}, type=Blur)
    except (ValueError, msgspec.ValidationError):
        blur = None
    if blur is None or not (
        0.0 <= blur.position <= _LARGEST
        and 0.0 <= blur.velocity <= _LARGEST
        and 1.0 <= blur.correlation <= 60 * _LARGEST
    ):
        raise UsageError(
            "--policy blurred-oracle:NAME=NUMBER,... says how wrong the oracle sees",
            got=repr(argument),
            expected=f"position [mm] and velocity [mm/s] of 0 to {_LARGEST:g}, correlation [ms]",
            next_command="dvla-bench dom --policy blurred-oracle:position=8,velocity=45",
        )
    return BlurredOracle(blur)
