"""The training objective: flow matching of normalised chunks.

One pass of the vision encoder and the language model serves several draws of noise and flow time,
because the expert is the cheap part of a small policy.
"""

from __future__ import annotations

import math

import msgspec

from dvla.export.model.decoder import KeyValue
from dvla.export.model.policy import POSE_DIM, DynamicVla
from dvla.export.torch_ import F, Tensor, torch


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Samples of a dataset.

    Attributes:
        images: (B, N, 3 * n_obs, H, W) in [-1, 1], as the encoder sees them.
        token_ids: (B, n) int64; ``token_mask`` (B, n) bool.
        state: (B, S) [m, rad].
        actions: (B, H, A) absolute [m, rad, -].
        object_state: (B, 6) true position and velocity [m, m/s]; for the helpers alone.
        spots: (B, N, n_obs, 2) where the object is in each picture, from the left and from the top
            as a share of its sides; NaN where it is not known. For the helpers alone.
        container: (B, 2) where the container stands [m]; NaN where there is none. For the helpers
            alone.
    """

    images: Tensor
    token_ids: Tensor
    token_mask: Tensor
    state: Tensor
    actions: Tensor
    object_state: Tensor
    spots: Tensor
    container: Tensor


def draw_flow_times(count: int, generator: torch.Generator) -> Tensor:
    """Draw flow times (count,) float64: 0.999 Beta(1.5, 1) + 0.001, by inversion."""
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    return 0.999 * uniform ** (1.0 / 1.5) + 0.001


def embed_times(times: Tensor, dim: int, min_period: float, max_period: float) -> Tensor:
    """Return the (count, dim) float32 embeddings of flow times, as the sampler's."""
    fraction = torch.linspace(0.0, 1.0, dim // 2, dtype=torch.float64)
    period = min_period * (max_period / min_period) ** fraction
    angle = 2.0 * math.pi * times[:, None] / period
    return torch.cat([angle.sin(), angle.cos()], dim=1).to(torch.float32)


def relative_actions(policy: DynamicVla, actions: Tensor, state: Tensor) -> Tensor:
    """Return normalised, padded targets (B, H, D) of absolute actions (B, H, A)."""
    if policy.config.use_delta_action:
        n = min(POSE_DIM, actions.shape[-1], state.shape[-1])
        pose = actions[..., :n] - state[:, None, :n]
        actions = torch.cat([pose, actions[..., n:]], dim=-1)
    normalised = policy.normalize_targets.buffer_action.normalize(actions)
    return F.pad(normalised, (0, policy.config.max_action_dim - normalised.shape[-1]))


def read_prefix(policy: DynamicVla, tokens: Tensor, batch: Batch) -> tuple[list[KeyValue], Tensor]:
    """Run pictures' tokens (B, N, T, hidden), instructions and states through the language model.

    Returns:
        Its keys and values per layer, and which of the L tokens are any (B, L) bool.
    """
    embedded, mask = policy.embed_prefix(
        tokens, batch.token_ids, batch.token_mask, batch.state[:, None]
    )
    return policy.prefix_cache(embedded, mask), mask


def flow_loss(
    policy: DynamicVla,
    prefix: tuple[list[KeyValue], Tensor],
    batch: Batch,
    draws: int,
    generator: torch.Generator,
) -> Tensor:
    """Return the mean flow-matching loss.

    Args:
        policy: with gradients.
        prefix: of the batch (``read_prefix``).
        batch: of B samples.
        draws: of noise and flow time per sample.
        generator: draws them.
    """
    once, mask = prefix
    cache = [
        (k.repeat_interleave(draws, dim=0), v.repeat_interleave(draws, dim=0)) for k, v in once
    ]
    target = relative_actions(policy, batch.actions, batch.state).repeat_interleave(draws, dim=0)
    times = draw_flow_times(len(target), generator)
    noise = torch.randn(target.shape, generator=generator)
    t = times.to(torch.float32)[:, None, None]
    x = t * noise + (1.0 - t) * target
    velocity = _velocity(policy, x, times, cache, mask.repeat_interleave(draws, dim=0))
    used = batch.actions.shape[-1]
    return (velocity - (noise - target))[..., :used].square().mean()


def _velocity(
    policy: DynamicVla, x: Tensor, times: Tensor, cache: list[KeyValue], mask: Tensor
) -> Tensor:
    """Return the velocity (B, H, D) of noisy actions at a flow time each."""
    model, config = policy.model, policy.config
    actions = model.action_in_proj(x)
    time = embed_times(times, actions.shape[-1], config.min_period, config.max_period)
    both = torch.cat([actions, time[:, None].expand_as(actions).to(actions.dtype)], dim=-1)
    suffix = model.action_time_mlp_out(F.silu(model.action_time_mlp_in(both)))
    velocity: Tensor = model.action_out_proj(model.vlm_with_expert.lm_expert(suffix, cache, mask))
    return velocity
