"""A transformer layer as engines like it: fused projections, no batch dimension, GQA by shape.

Rewritten from the model's layers, exactly in real arithmetic: query, key and value in one product,
gate and up in one product, 1/sqrt(head_dim) inside the query's weights, and grouped queries as rows
of one product per key head instead of repeated keys. Weights are stored (in, out), as a MatMul
wants them, so that no graph holds a transposition of weights.
"""

from __future__ import annotations

from dvla.export.arch import TextArch
from dvla.export.model.decoder import DecoderLayer, RmsNorm
from dvla.export.model.rope import rope_angles
from dvla.export.torch_ import F, Tensor, nn, torch

MASKED = -3.0e4
"""Added to a masked score: finite in fp16, and exp of it is zero beside any visible score."""


def decoder_layers(layers: nn.ModuleList) -> list[DecoderLayer]:
    """Return the layers of a stack as what they are."""
    return [layer for layer in layers if isinstance(layer, DecoderLayer)]


def input_major(*weights: Tensor) -> nn.Parameter:
    """Return linear weights (out, in) side by side as one (in, out) matrix."""
    stacked = torch.cat([weight.detach() for weight in weights], dim=0)
    return nn.Parameter(stacked.T.contiguous(), requires_grad=False)


class FusedNorm(nn.Module):
    """RMSNorm, spelt as the division that engines recognise and fuse."""

    def __init__(self, norm: RmsNorm) -> None:
        super().__init__()
        self.eps = norm.eps
        self.weight = nn.Parameter(norm.weight.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (L, D) to the same shape."""
        mean_square: Tensor = x.pow(2).mean(-1, keepdim=True)
        y: Tensor = x / torch.sqrt(mean_square + self.eps) * self.weight
        return y


class FusedMlp(nn.Module):
    """The gated perceptron and the residual around it."""

    def __init__(self, layer: DecoderLayer) -> None:
        super().__init__()
        self.norm = FusedNorm(layer.post_attention_layernorm)
        self.gate_up = input_major(layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight)
        self.down = input_major(layer.mlp.down_proj.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (L, D) to the same shape."""
        gate, up = (self.norm(x) @ self.gate_up).chunk(2, dim=-1)
        y: Tensor = x + (F.silu(gate) * up) @ self.down
        return y


def rope_tables(length: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines (length, head_dim / 2) of the positions 0 to length - 1."""
    cos, sin = rope_angles(torch.arange(length)[None], head_dim)
    return cos[0, :, 0], sin[0, :, 0]


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the tables (L, head_dim / 2) to (heads, L, head_dim)."""
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def split_heads(x: Tensor, head_dim: int) -> Tensor:
    """Map (L, heads * head_dim) to (heads, L, head_dim)."""
    return x.reshape(x.shape[0], -1, head_dim).permute(1, 0, 2)


def grouped_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attend with several query heads per key head.

    Args:
        q: (heads, Lq, head_dim), already scaled.
        k, v: (kv_heads, Lk, head_dim).
        bias: (Lq or 1, Lk) added to the scores: 0 where visible, ``MASKED`` elsewhere.

    Returns:
        (Lq, heads * head_dim).
    """
    heads, rows, head_dim = q.shape
    kv_heads, columns, _ = k.shape
    group = heads // kv_heads
    scores = q.reshape(kv_heads, group * rows, head_dim) @ k.transpose(1, 2)
    weights = torch.softmax(scores.reshape(kv_heads, group, rows, columns) + bias, dim=-1)
    mixed = weights.reshape(kv_heads, group * rows, columns) @ v
    return mixed.reshape(heads, rows, head_dim).permute(1, 0, 2).reshape(rows, heads * head_dim)


class FusedLayer(nn.Module):
    """One layer with its own keys and values.

    Args:
        layer: the model's layer.
        arch: its dims.
        keys_and_values_only: leave out everything behind the keys and values (last VLM layer).
    """

    def __init__(
        self, layer: DecoderLayer, arch: TextArch, keys_and_values_only: bool = False
    ) -> None:
        super().__init__()
        attention = layer.self_attn
        self.head_dim, self.q_dim, self.kv_dim = arch.head_dim, arch.q_dim, arch.kv_dim
        self.keys_and_values_only = keys_and_values_only
        self.norm = FusedNorm(layer.input_layernorm)
        keys_values = (attention.k_proj.weight, attention.v_proj.weight)
        if keys_and_values_only:
            self.projections = input_major(*keys_values)
            return
        query = attention.q_proj.weight * self.head_dim**-0.5
        self.projections = input_major(query, *keys_values)
        self.out = input_major(attention.o_proj.weight)
        self.mlp = FusedMlp(layer)

    def keys_values(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (L, D) to roped keys and values, (kv_heads, L, head_dim) each."""
        k, v = (self.norm(x) @ self.projections).chunk(2, dim=-1)
        return rotate(split_heads(k, self.head_dim), cos, sin), split_heads(v, self.head_dim)

    def queries_keys_values(
        self, x: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map x (L, D) to roped queries (heads, L, head_dim), roped keys, and values."""
        widths = [self.q_dim + self.kv_dim, self.kv_dim]
        qk, v = torch.split(self.norm(x) @ self.projections, widths, dim=-1)
        heads = [self.q_dim // self.head_dim, self.kv_dim // self.head_dim]
        q, k = torch.split(rotate(split_heads(qk, self.head_dim), cos, sin), heads, dim=0)
        return q, k, split_heads(v, self.head_dim)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what attention found (L, heads * head_dim) to x (L, D), then the perceptron."""
        y: Tensor = self.mlp(x + attended @ self.out)
        return y


class FusedCrossLayer(nn.Module):
    """A layer of the expert that reads the prefix alone; its values are projected beforehand."""

    def __init__(self, layer: DecoderLayer, arch: TextArch) -> None:
        super().__init__()
        self.head_dim = arch.head_dim
        self.norm = FusedNorm(layer.input_layernorm)
        self.query = input_major(layer.self_attn.q_proj.weight * self.head_dim**-0.5)
        self.out = input_major(layer.self_attn.o_proj.weight)
        self.mlp = FusedMlp(layer)

    def queries(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Map x (L, D) to roped queries (heads, L, head_dim)."""
        return rotate(split_heads(self.norm(x) @ self.query, self.head_dim), cos, sin)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what attention found (L, heads * head_dim) to x (L, D), then the perceptron."""
        y: Tensor = self.mlp(x + attended @ self.out)
        return y
