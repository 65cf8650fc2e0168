"""Flow matching: the embedding of the noisy actions at a flow time, and the Euler sampler."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from dvla.export.torch_ import Tensor, torch


def flow_times(num_steps: int) -> list[float]:
    """Return the num_steps + 1 flow times from 1 down to 0; the last is where sampling ends.

    Stepped in float32, rounding included: the embedding's shortest period turns one ulp of time
    into 1e-4 rad, and exact tenths are off by 1e-4 relative in the velocity.
    """
    step = np.float32(-1.0 / num_steps)
    times = [np.float32(1.0)]
    for _ in range(num_steps):
        times.append(times[-1] + step)
    return [float(time) for time in times[:-1]] + [0.0]


def time_embedding(flow_time: float, dim: int, min_period: float, max_period: float) -> Tensor:
    """Return the (dim,) float32 sines, then cosines, of a flow time.

    Computed in float64: at the shortest period the angle reaches 1571 rad, where float32 leaves
    four digits.
    """
    fraction = torch.linspace(0.0, 1.0, dim // 2, dtype=torch.float64)
    period = min_period * (max_period / min_period) ** fraction
    angle = 2.0 * math.pi * flow_time / period
    return torch.cat([angle.sin(), angle.cos()]).to(torch.float32)


def euler_sample(
    velocity: Callable[[Tensor, float], Tensor],
    noise: Tensor,
    num_steps: int,
    guide: Callable[[Tensor, float], Tensor] | None = None,
) -> Tensor:
    """Integrate the flow from noise at time 1 to actions at time 0.

    Args:
        velocity: of x (B, H, D) at a flow time.
        noise: (B, H, D) standard normal; it is not written to.
        num_steps: how many Euler steps.
        guide: changes x after the update to a flow time, for the soft mask of real-time chunking.

    Returns:
        (B, H, D) normalised, padded actions.
    """
    x = noise
    step = float(np.float32(-1.0 / num_steps))
    for flow_time, next_time in pairwise(flow_times(num_steps)):
        x = x + step * velocity(x, flow_time)
        if guide is not None:
            x = guide(x, next_time)
    return x


def soft_mask_guide(
    target: Tensor, weight: Tensor, noise: Tensor
) -> Callable[[Tensor, float], Tensor]:
    """Return the guide that pulls the sample towards the previous chunk's future.

    Args:
        target: (B, H, D) normalised, padded future of the previous chunk.
        weight: (B, H) in [0, 1]; 0 is the plain sampler.
        noise: (B, H, D) the noise that sampling starts from.
    """
    w = weight[..., None]

    def guide(x: Tensor, flow_time: float) -> Tensor:
        return (1.0 - w) * x + w * (flow_time * noise + (1.0 - flow_time) * target)

    return guide
