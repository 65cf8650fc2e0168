"""The prefix's layout: which token sees which, and at what position it stands."""

from __future__ import annotations

from dvla.export.torch_ import Tensor, torch


def prefix_mask(batch: int, n_image_tokens: int, token_mask: Tensor) -> Tensor:
    """Return (B, L) bool for [image tokens, language tokens, state token]; false is padding."""
    images = torch.ones(batch, n_image_tokens, dtype=torch.bool, device=token_mask.device)
    state = torch.ones(batch, 1, dtype=torch.bool, device=token_mask.device)
    return torch.cat([images, token_mask.to(torch.bool), state], dim=1)


def prefix_attention_mask(mask: Tensor) -> Tensor:
    """Return (B, L, L) bool, true where a token (row) sees another (column).

    Images and language see each other; the state, the last token, sees everything and is seen by
    itself alone; nobody sees padding.
    """
    length = mask.shape[1]
    index = torch.arange(length, device=mask.device)
    is_state = index == length - 1
    return mask[:, None, :] & (is_state[:, None] | ~is_state[None, :])


def prefix_positions(mask: Tensor) -> Tensor:
    """Return (B, L) int64 positions; padding takes none, so it moves nothing after it."""
    return mask.to(torch.int64).cumsum(dim=1) - 1
