"""A flow policy whose velocity is known exactly: what seams are measured with.

Seams tell nothing about random weights, whose chunks are noise, and need no trained network either:
here chunks are Gaussian, so the velocity that training would look for has a closed form. Each chunk
approaches one of many goals around a middle, which the noise of the inference decides, as in a
policy that sees several ways to go on; so two chunks seldom agree. Sampling is that of the
networks: the same Euler steps, the same soft mask after each of them.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.chunk import Chunk
from dvla.runtime.observation import Observation
from dvla.runtime.policy import absolute_actions, relative_actions

MIDDLE_M = (0.40, 0.0, 0.32)
SPREAD_M = 0.04
"""Standard deviation of the goals around the middle [m]."""
TURN_RAD = 0.05
"""Standard deviation of the rotation that a chunk approaches [rad]."""
APPROACH_S = 0.4
"""Time constant of the approach [s]."""
WANDER = 0.02
"""How far a chunk strays from its approach, in deviations of the goal."""
WANDER_STEPS = 6.0
"""Over how many steps it does."""
NUM_STEPS = 10
POSE = 6

Array = NDArray[np.float64]


class SmoothFlow:
    """A ``GuidedPolicy`` that looks at the state alone.

    Args:
        chunk_size: H.
        control_period_s: T [s].
    """

    def __init__(self, *, chunk_size: int = 20, control_period_s: float = 0.04) -> None:
        self._chunk_size = chunk_size
        self._control_period_s = control_period_s
        index = np.arange(chunk_size)
        self._reached = 1.0 - np.exp(-control_period_s * (index + 1) / APPROACH_S)
        apart = (index[:, None] - index) / WANDER_STEPS
        wander = WANDER**2 * np.exp(-0.5 * apart**2)
        self._covariance = np.outer(self._reached, self._reached) + wander
        self._scale = np.array([SPREAD_M] * 3 + [TURN_RAD] * 3)

    @property
    def chunk_size(self) -> int:
        """H, the number of actions of a chunk."""
        return self._chunk_size

    @property
    def control_period_s(self) -> float:
        """T, the spacing of the actions [s]."""
        return self._control_period_s

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
        *,
        prev_actions: NDArray[np.float32] | None = None,
        prev_weight: NDArray[np.float32] | None = None,
    ) -> Chunk:
        """Return the chunk for an observation's state; see ``GuidedPolicy`` for the arguments."""
        state = np.asarray(observation.state[-1], np.float32)
        if noise is None:
            noise = np.random.default_rng(seed).standard_normal(
                (self._chunk_size, POSE), np.float32
            )
        target, weight = np.zeros((self._chunk_size, POSE)), np.zeros((self._chunk_size, 1))
        if prev_actions is not None and prev_weight is not None:
            target = relative_actions(prev_actions, state, POSE)[:, :POSE] / self._scale
            weight = np.asarray(prev_weight, np.float64)[:, None]
        middle = np.zeros(POSE)
        middle[:3] = (np.array(MIDDLE_M) - state[:3]) / SPREAD_M
        mean = self._reached[:, None] * middle
        sample = self.sample(mean, np.asarray(noise, np.float64), target, weight)
        actions = np.ones((self._chunk_size, POSE + 1), np.float32)
        actions[:, :POSE] = sample * self._scale
        return Chunk(
            actions=absolute_actions(actions, state, POSE),
            t_obs_ns=observation.t_obs_ns,
            inference_s=0.0,
            control_period_s=self._control_period_s,
        )

    def sample(self, mean: Array, noise: Array, target: Array, weight: Array) -> Array:
        """Integrate the flow from noise to a chunk, in deviations of the goal.

        Args:
            mean: (H, 6) of the chunks.
            noise: (H, 6).
            target: (H, 6) that guides.
            weight: (H, 1) in [0, 1].
        """
        x = noise
        for flow_time, after in pairwise(np.linspace(1.0, 0.0, NUM_STEPS + 1).tolist()):
            x = x - (flow_time - after) * self.velocity(x, flow_time, mean)
            x = (1.0 - weight) * x + weight * (after * noise + (1.0 - after) * target)
        return x

    def velocity(self, x: Array, flow_time: float, mean: Array) -> Array:
        """Return the expected noise less the expected chunk, given x = t noise + (1 - t) chunk."""
        left = 1.0 - flow_time
        both = flow_time**2 * np.eye(len(x)) + left**2 * self._covariance
        explained = np.linalg.solve(both, x - left * mean)
        expected = mean + left * self._covariance @ explained
        return np.asarray(flow_time * explained - expected)

    def reset(self) -> None:
        """Forget nothing: nothing is kept between chunks."""
