"""Rotary positions, with the frequencies that these checkpoints were trained with."""

from __future__ import annotations

from dvla.export.torch_ import Tensor, torch


def rope_frequencies(head_dim: int) -> Tensor:
    """Return the (head_dim / 2,) float32 angles per position [rad].

    Usual rotary embeddings fall from 1 to 1/10000 over the half head; these fall four times as fast
    (the exponent is 4 i over head_dim / 2).
    """
    half = head_dim // 2
    return torch.tensor([10000.0 ** -(4.0 * i / half) for i in range(half)], dtype=torch.float32)


def rope_angles(positions: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Return the cosine and sine tables (B, L, 1, head_dim / 2) of integer positions (B, L)."""
    frequencies = rope_frequencies(head_dim).to(positions.device)
    angles = (positions.to(torch.float32)[..., None] * frequencies)[:, :, None, :]
    return angles.cos(), angles.sin()


def apply_rope(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the two halves of every head of x (B, L, heads, head_dim) against each other."""
    cos, sin = angles
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
