"""The error of a policy on episodes that it was not trained on, as sampled chunks."""

from __future__ import annotations

import msgspec

from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import Tensor, torch
from dvla.training.dense_vision import Seen, embed_images
from dvla.training.flow_loss import Batch
from dvla.training.helpers import Helpers
from dvla.training.sampler import Sampler

FIRST = 5
"""Actions that a policy with little latency executes."""


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """Errors against the expert's chunks.

    Attributes:
        chunk_m: mean distance of positions over the chunk [m]; first_m: over its first actions.
        gripper: share of gripper decisions that are the expert's.
        object_m: mean distance of the helper's answer from the object [m].
        object_m_s: median error of its velocity over the table [m/s].
    """

    chunk_m: float
    first_m: float
    gripper: float
    object_m: float
    object_m_s: float


def held_out_error(
    policy: DynamicVla, helpers: Helpers, sampler: Sampler, samples: int, at_once: int
) -> HeldOut:
    """Sample chunks for the same held-out observations every time and compare them.

    Args:
        policy: ready for inference.
        helpers: of its encoder.
        sampler: of held-out batches; it begins its draws again.
        samples: observations in all.
        at_once: observations of a forward pass, which memory grows with.
    """
    sampler.rewind()
    apart, agrees, off = [], [], []
    with torch.inference_mode():
        for first in range(0, samples, at_once):
            batch = sampler.batch(min(at_once, samples - first))
            actions, seen = sample_chunks(policy, batch, seed=first)
            apart.append((actions[..., :3] - batch.actions[..., :3]).norm(dim=-1))
            agrees.append((actions[..., 6] > 0) == (batch.actions[..., 6] > 0))
            known = policy.normalized_state(batch.state[:, None])
            off.append(helpers.answers(seen, known) - batch.object_state)
    distances, errors = torch.cat(apart), torch.cat(off)
    return HeldOut(
        chunk_m=float(distances.mean()),
        first_m=float(distances[:, :FIRST].mean()),
        gripper=float(torch.cat(agrees).float().mean()),
        object_m=float(errors[:, :3].norm(dim=-1).nanmean()),
        object_m_s=float(errors[:, 3:5].norm(dim=-1).nanmedian()),
    )


def sample_chunks(policy: DynamicVla, batch: Batch, seed: int) -> tuple[Tensor, Seen]:
    """Return absolute actions (B, H, A) [m, rad, -] and what the encoder made of the pictures."""
    seen = embed_images(policy, batch.images)
    state = batch.state[:, None]
    embedded, mask = policy.embed_prefix(seen.tokens, batch.token_ids, batch.token_mask, state)
    cfg = policy.config
    generator = torch.Generator().manual_seed(seed)
    shape = (len(batch.state), cfg.chunk_size, cfg.max_action_dim)
    noise = torch.randn(shape, generator=generator)
    padded = policy.sample_actions(policy.prefix_cache(embedded, mask), mask, noise)
    return policy.absolute_actions(policy.unnormalize_actions(padded), state), seen
