"""The action expert: turns the noisy actions into a velocity, reading the prefix's cache."""

from __future__ import annotations

from typing import cast

from dvla.export.arch import TextArch
from dvla.export.model.decoder import Attention, DecoderLayer, KeyValue, RmsNorm, attend
from dvla.export.model.rope import apply_rope, rope_angles
from dvla.export.torch_ import Tensor, nn, torch

Angles = tuple[Tensor, Tensor]


class ActionExpert(nn.Module):
    """As many layers as the VLM: joint self-attention every n-th, cross-attention between."""

    def __init__(self, arch: TextArch, self_attn_every: int) -> None:
        super().__init__()
        self.head_dim = arch.head_dim
        self.self_attn_every = self_attn_every
        self.layers = nn.ModuleList(
            DecoderLayer(arch, cross=not self.is_joint(i)) for i in range(arch.n_layers)
        )
        self.norm = RmsNorm(arch.hidden, arch.rms_norm_eps)

    def is_joint(self, index: int) -> bool:
        """Say whether a layer attends to the suffix too."""
        return self.self_attn_every > 0 and index % self.self_attn_every == 0

    def forward(self, x: Tensor, cache: list[KeyValue], prefix_mask: Tensor) -> Tensor:
        """Run the suffix through all layers.

        Args:
            x: (B, H, D) embedded noisy actions.
            cache: per layer the prefix's roped keys and values, (B, L, kv_heads, head_dim).
            prefix_mask: (B, L) bool, false where the prefix is padding.

        Returns:
            (B, H, D), normalised.
        """
        horizon = x.shape[1]
        steps = torch.arange(horizon, device=x.device)[None]
        after_prefix = prefix_mask.sum(-1, keepdim=True) + steps
        joint_angles = rope_angles(after_prefix, self.head_dim)
        cross_angles = rope_angles(steps, self.head_dim)
        sees_prefix = prefix_mask[:, None, :].expand(-1, horizon, -1)
        causal = torch.ones(horizon, horizon, dtype=torch.bool, device=x.device).tril()
        sees_both = torch.cat([sees_prefix, causal.expand(x.shape[0], -1, -1)], dim=-1)
        layers = cast("list[DecoderLayer]", self.layers)
        for index, (layer, kv) in enumerate(zip(layers, cache, strict=True)):
            normed = layer.input_layernorm(x)
            if self.is_joint(index):
                attended = _joint(layer.self_attn, normed, kv, sees_both, joint_angles)
            else:
                attended = _cross(layer.self_attn, normed, kv, sees_prefix, cross_angles)
            x = layer.add_residuals(x, attended)
        normed_out: Tensor = self.norm(x)
        return normed_out


def _joint(attn: Attention, x: Tensor, kv: KeyValue, mask: Tensor, angles: Angles) -> Tensor:
    """Attend to the prefix and, causally, to the suffix."""
    q = apply_rope(attn.heads(attn.q_proj(x)), angles)
    k = apply_rope(attn.heads(attn.k_proj(x)), angles)
    v = attn.heads(attn.v_proj(x))
    return attend(q, torch.cat([kv[0], k], dim=1), torch.cat([kv[1], v], dim=1), mask)


def _cross(attn: Attention, x: Tensor, kv: KeyValue, mask: Tensor, angles: Angles) -> Tensor:
    """Attend to the prefix alone: its keys as they are, its values projected once more."""
    q = apply_rope(attn.heads(attn.q_proj(x)), angles)
    v = attn.heads(attn.v_proj(kv[1].flatten(2)))
    return attend(q, kv[0], v, mask)
