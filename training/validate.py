"""The error of a policy on episodes that it was not trained on, as sampled chunks."""

from __future__ import annotations

import msgspec

from dvla.export.model.decoder import KeyValue
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import Tensor, torch
from dvla.training.dense_vision import embed_images
from dvla.training.flow_loss import Batch, read_prefix
from dvla.training.helpers import Helpers, words_of
from dvla.training.sampler import Sampler

FIRST = 5
"""Actions that a policy with little latency executes."""
MEANT_M = 0.05
"""Nearer than this to the object that is asked for, no other is meant [m]."""


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """Errors against the expert's chunks.

    Attributes:
        chunk_m: mean distance of positions over the chunk [m]; first_m: over its first actions.
        gripper: share of gripper decisions that are the expert's.
        object_m: mean distance of the helper's answer from the object [m].
        object_m_s: median error of its velocity over the table [m/s].
        meant: share of the samples of which the language model knows the object to ``MEANT_M``.
        container_m: mean distance of its answer from the container [m].
    """

    chunk_m: float
    first_m: float
    gripper: float
    object_m: float
    object_m_s: float
    meant: float
    container_m: float


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
    apart, agrees, off, beside, astray = [], [], [], [], []
    with torch.inference_mode():
        for first in range(0, samples, at_once):
            batch = sampler.batch(min(at_once, samples - first))
            seen = embed_images(policy, batch.images)
            prefix = read_prefix(policy, seen.tokens, batch)
            actions = sample_chunks(policy, batch, prefix, seed=first)
            apart.append((actions[..., :3] - batch.actions[..., :3]).norm(dim=-1))
            agrees.append((actions[..., 6] > 0) == (batch.actions[..., 6] > 0))
            known = policy.normalized_state(batch.state[:, None])
            off.append(helpers.answers(seen, known, words_of(policy, batch)) - batch.object_state)
            beside.append(helpers.understood(prefix[0]) - batch.object_state)
            astray.append(helpers.understood_container(prefix[0]) - batch.container)
    distances, errors = torch.cat(apart), torch.cat(off)
    missed_m = torch.cat(beside)[:, :3].norm(dim=-1)
    missed_m = missed_m[missed_m.isfinite()]
    return HeldOut(
        chunk_m=float(distances.mean()),
        first_m=float(distances[:, :FIRST].mean()),
        gripper=float(torch.cat(agrees).float().mean()),
        object_m=float(errors[:, :3].norm(dim=-1).nanmean()),
        object_m_s=float(errors[:, 3:5].norm(dim=-1).nanmedian()),
        meant=float((missed_m < MEANT_M).float().mean()),
        container_m=float(torch.cat(astray).norm(dim=-1).nanmean()),
    )


def sample_chunks(
    policy: DynamicVla, batch: Batch, prefix: tuple[list[KeyValue], Tensor], seed: int
) -> Tensor:
    """Return absolute actions (B, H, A) [m, rad, -] of a batch, whose prefix was read."""
    cache, mask = prefix
    cfg = policy.config
    generator = torch.Generator().manual_seed(seed)
    shape = (len(batch.state), cfg.chunk_size, cfg.max_action_dim)
    noise = torch.randn(shape, generator=generator)
    padded = policy.sample_actions(cache, mask, noise)
    return policy.absolute_actions(policy.unnormalize_actions(padded), batch.state[:, None])
