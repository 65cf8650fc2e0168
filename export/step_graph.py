"""The step graph: one velocity of the flow; ``unroll`` makes the denoise graph of it."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.tensors import GraphSpec, TensorSpec
from dvla.export.fused_layers import (
    MASKED,
    FusedCrossLayer,
    FusedLayer,
    FusedNorm,
    decoder_layers,
    grouped_attention,
    input_major,
    rope_tables,
)
from dvla.export.model.flow import flow_times, time_embedding
from dvla.export.model.policy import DynamicVla
from dvla.export.prefix_graph import cache_specs, image_tokens, token_mask_spec
from dvla.export.torch_ import F, Tensor, nn, torch


class StepGraph(nn.Module):
    """The action expert with the time's half of the suffix embedding as an input.

    ``action_in_proj`` and the action half of the linear behind it are one map; the time half of
    that linear, and both biases, arrive as ``time_bias`` (see ``time_biases``).
    """

    cos: Tensor
    sin: Tensor
    steps: Tensor
    image_mask: Tensor
    state_mask: Tensor
    causal_bias: Tensor

    def __init__(self, policy: DynamicVla) -> None:
        super().__init__()
        config, arch, model = policy.config, policy.arch, policy.model
        expert = model.vlm_with_expert.lm_expert
        self.horizon = config.chunk_size
        width = arch.expert.hidden
        action_half = model.action_time_mlp_in.weight[:, :width].double()
        fused = (action_half @ model.action_in_proj.weight.double()).float()
        self.action_in = input_major(fused)
        self.time_out = input_major(model.action_time_mlp_out.weight)
        self.time_out_bias = model.action_time_mlp_out.bias
        self.layers = nn.ModuleList(
            FusedLayer(layer, arch.expert)
            if expert.is_joint(index)
            else FusedCrossLayer(layer, arch.expert)
            for index, layer in enumerate(decoder_layers(expert.layers))
        )
        self.norm = FusedNorm(expert.norm)
        self.action_out = input_major(model.action_out_proj.weight)
        self.action_out_bias = model.action_out_proj.bias

        n_image_tokens = image_tokens(policy) * len(config.image_keys)
        length = n_image_tokens + config.tokenizer_max_length + 1
        cos, sin = rope_tables(length + self.horizon, arch.expert.head_dim)
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)
        self.register_buffer("steps", torch.arange(self.horizon))
        self.register_buffer("image_mask", torch.ones(n_image_tokens, dtype=torch.bool))
        self.register_buffer("state_mask", torch.ones(1, dtype=torch.bool))
        causal = torch.ones(self.horizon, self.horizon, dtype=torch.bool).tril()
        self.register_buffer("causal_bias", torch.where(causal, 0.0, MASKED))

    def forward(
        self, x: Tensor, time_bias: Tensor, keys: Tensor, values: Tensor, token_mask: Tensor
    ) -> Tensor:
        """Return the velocity (H, D) of the noisy actions; see ``step_spec``."""
        mask = torch.cat([self.image_mask, token_mask, self.state_mask])
        prefix_bias = torch.where(mask, 0.0, MASKED)[None]
        joint_bias = torch.cat([prefix_bias.expand(self.horizon, -1), self.causal_bias], dim=1)
        # The suffix stands behind the valid part of the prefix; padding takes no position.
        positions = self.steps + mask.to(torch.float32).sum().to(torch.int64)
        joint = self.cos.index_select(0, positions), self.sin.index_select(0, positions)
        cross = self.cos[: self.horizon], self.sin[: self.horizon]

        h = F.silu(x @ self.action_in + time_bias) @ self.time_out + self.time_out_bias
        for index, layer in enumerate(self.layers):
            k, v = keys[index], values[index]
            if isinstance(layer, FusedLayer):
                q, own_k, own_v = layer.queries_keys_values(h, *joint)
                k, v = torch.cat([k, own_k], dim=1), torch.cat([v, own_v], dim=1)
                attended = grouped_attention(q, k, v, joint_bias)
            else:
                assert isinstance(layer, FusedCrossLayer)
                attended = grouped_attention(layer.queries(h, *cross), k, v, prefix_bias)
            h = layer.finish(h, attended)
        velocity: Tensor = self.norm(h) @ self.action_out + self.action_out_bias
        return velocity


def time_biases(policy: DynamicVla) -> NDArray[np.float32]:
    """Return the (num_steps, width) float32 time biases of the policy's Euler steps.

    Computed in float64 from the float32 embedding, which at these angles no lower precision holds.
    """
    config, model = policy.config, policy.model
    linear = model.action_time_mlp_in
    width = linear.out_features
    weight = linear.weight.double()
    constant = linear.bias.double() + weight[:, :width] @ model.action_in_proj.bias.double()
    rows = [
        weight[:, width:]
        @ time_embedding(time, width, config.min_period, config.max_period).double()
        + constant
        for time in flow_times(config.num_steps)[:-1]  # Nothing is computed at time 0.
    ]
    biases: NDArray[np.float32] = torch.stack(rows).float().numpy()
    return biases


def step_spec(policy: DynamicVla) -> GraphSpec:
    """Return the declared inputs and outputs of the step graph."""
    sample = (policy.config.chunk_size, policy.config.max_action_dim)
    width = (policy.arch.expert.hidden,)
    return GraphSpec(
        name="step",
        inputs=(
            TensorSpec(name="x", shape=sample, dtype="float32"),
            TensorSpec(name="time_bias", shape=width, dtype="float32"),
            *cache_specs(policy),
            token_mask_spec(policy),
        ),
        outputs=(TensorSpec(name="velocity", shape=sample, dtype="float32"),),
    )


def denoise_spec(policy: DynamicVla, units: tuple[str, ...]) -> GraphSpec:
    """Return the declared inputs and outputs of the denoise graph.

    ``prev_actions`` are in the units of ``actions``, offsets where those are offsets; the graph
    normalises them. ``prev_weight`` is in [0, 1] per action; all zero is the plain sampler.
    """
    config = policy.config
    noise = TensorSpec(
        name="noise", shape=(config.chunk_size, config.max_action_dim), dtype="float32"
    )
    actions = TensorSpec(
        name="actions",
        shape=(config.chunk_size, config.action_dim),
        dtype="float32",
        units=", ".join(units),
    )
    prev_actions = msgspec.structs.replace(actions, name="prev_actions")
    prev_weight = TensorSpec(name="prev_weight", shape=(config.chunk_size,), dtype="float32")
    return GraphSpec(
        name="denoise",
        inputs=(
            *cache_specs(policy), token_mask_spec(policy), noise, prev_actions, prev_weight,
        ),
        outputs=(actions,),
    )  # fmt: skip
