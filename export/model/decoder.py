"""The language model's layers, which read the prefix once and leave their keys and values."""

from __future__ import annotations

from typing import cast

from dvla.export.arch import TextArch
from dvla.export.model.rope import apply_rope, rope_angles
from dvla.export.torch_ import F, Tensor, nn, torch

KeyValue = tuple[Tensor, Tensor]


class RmsNorm(nn.Module):
    """Divide by the root mean square, times a learnt weight."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to the same shape."""
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps))


class SwiGlu(nn.Module):
    """The gated perceptron of a layer."""

    def __init__(self, dim: int, mlp: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dim, mlp, bias=False)
        self.up_proj = nn.Linear(dim, mlp, bias=False)
        self.down_proj = nn.Linear(mlp, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to the same shape."""
        y: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return y


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Grouped-query attention with a finite mask; softmax in float32.

    Args:
        q: (B, Lq, heads, head_dim).
        k: (B, Lk, kv_heads, head_dim); v likewise.
        mask: (B, Lq, Lk) bool, true where a query sees a key.

    Returns:
        (B, Lq, heads * head_dim).
    """
    group = q.shape[2] // k.shape[2]
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    k, v = (x.repeat_interleave(group, dim=1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    # Finite, so that a padded query, which sees nothing, yields no NaN.
    scores = scores.masked_fill(~mask[:, None], torch.finfo(scores.dtype).min)
    mixed = torch.softmax(scores, dim=-1) @ v
    return mixed.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """The projections of a layer's attention.

    A cross-attention layer of the expert has no ``k_proj``: it uses the prefix's keys as they are.
    """

    def __init__(self, arch: TextArch, cross: bool = False) -> None:
        super().__init__()
        self.head_dim = arch.head_dim
        self.q_proj = nn.Linear(arch.hidden, arch.q_dim, bias=False)
        if not cross:
            self.k_proj = nn.Linear(arch.hidden, arch.kv_dim, bias=False)
        self.v_proj = nn.Linear(arch.kv_dim if cross else arch.hidden, arch.kv_dim, bias=False)
        self.o_proj = nn.Linear(arch.q_dim, arch.hidden, bias=False)

    def heads(self, x: Tensor) -> Tensor:
        """Split (B, L, heads * head_dim) into (B, L, heads, head_dim)."""
        return x.reshape(*x.shape[:-1], -1, self.head_dim)


class DecoderLayer(nn.Module):
    """One Llama layer."""

    def __init__(self, arch: TextArch, cross: bool = False) -> None:
        super().__init__()
        self.self_attn = Attention(arch, cross)
        self.mlp = SwiGlu(arch.hidden, arch.mlp)
        self.input_layernorm = RmsNorm(arch.hidden, arch.rms_norm_eps)
        self.post_attention_layernorm = RmsNorm(arch.hidden, arch.rms_norm_eps)

    def add_residuals(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what attention found to x (B, L, D), then the perceptron's answer to it."""
        x = x + self.self_attn.o_proj(attended)
        y: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return y


class TextModel(nn.Module):
    """Token embedding and layers. The final norm is in the checkpoint, and nothing reads it."""

    def __init__(self, arch: TextArch, vocab: int) -> None:
        super().__init__()
        self.head_dim = arch.head_dim
        self.embed_tokens = nn.Embedding(vocab, arch.hidden)
        self.layers = nn.ModuleList(DecoderLayer(arch) for _ in range(arch.n_layers))
        self.norm = RmsNorm(arch.hidden, arch.rms_norm_eps)

    def forward(self, x: Tensor, mask: Tensor, positions: Tensor) -> list[KeyValue]:
        """Run the prefix through all layers.

        Args:
            x: (B, L, D) embedded prefix.
            mask: (B, L, L) bool, true where a token sees another.
            positions: (B, L) int64.

        Returns:
            Per layer the roped keys and the values, (B, L, kv_heads, head_dim) each.
        """
        angles = rope_angles(positions, self.head_dim)
        cache: list[KeyValue] = []
        layers = cast("list[DecoderLayer]", self.layers)
        for index, layer in enumerate(layers):
            attention = layer.self_attn
            normed = layer.input_layernorm(x)
            k = apply_rope(attention.heads(attention.k_proj(normed)), angles)
            v = attention.heads(attention.v_proj(normed))
            cache.append((k, v))
            if index + 1 < len(layers):  # what the last layer would add, nothing reads
                q = apply_rope(attention.heads(attention.q_proj(normed)), angles)
                x = layer.add_residuals(x, attend(q, k, v, mask))
        return cache
