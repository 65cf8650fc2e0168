"""Weights to start from, where there is no checkpoint."""

from __future__ import annotations

import math
from typing import cast

from dvla.export.model.fastvit import ReparamConv
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import Tensor, nn, torch

_LAYER_SCALE = 0.3
_COLOURS = 3


def initialise(policy: DynamicVla, seed: int) -> None:
    """Draw all weights of a policy, in place.

    The network is in its re-parameterised form, whose single convolutions hold what training by
    branches would have added up, an identity among them. So each depthwise convolution without a
    shortcut of its own starts near the identity; otherwise a deep stack would blur from the start.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(weight: Tensor, std: float) -> None:
        weight.copy_(torch.randn(weight.shape, generator=generator) * std)

    with torch.no_grad():
        for module in policy.modules():
            if isinstance(module, nn.Linear):
                normal(module.weight, module.in_features**-0.5)
            elif isinstance(module, nn.Conv2d):
                fan_in = math.prod(module.weight.shape[1:])
                normal(module.weight, math.sqrt(2.0 / fan_in) if module.groups == 1 else 0.5 / 3.0)
            elif isinstance(module, nn.Embedding):
                normal(module.weight, module.embedding_dim**-0.5)
            bias = getattr(module, "bias", None)
            if isinstance(module, (nn.Linear, nn.Conv2d)) and bias is not None:
                bias.zero_()
        for module in policy.modules():
            if isinstance(module, ReparamConv) and _keeps_size(module.reparam_conv):
                weight = module.reparam_conv.weight
                weight.mul_(0.2)
                centre = weight.shape[-1] // 2
                weight[:, :, centre, centre] += 1.0
        _look_at_each_frame(policy)
        for name, parameter in policy.named_parameters():
            if "layer_scale" in name:
                parameter.fill_(_LAYER_SCALE)
        for layer in [
            *policy.vlm.text_model.layers,
            *policy.model.vlm_with_expert.lm_expert.layers,
        ]:
            _quiet(cast("nn.Module", layer))
        normal(policy.model.action_out_proj.weight, 0.02)


def _look_at_each_frame(policy: DynamicVla) -> None:
    """Let the first two layers see every frame by itself, with the same weights, to begin with."""
    layers = [cast("ReparamConv", layer) for layer in policy.vlm.vision_model.patch_embedding[:2]]
    first, second = (layer.reparam_conv.weight for layer in layers)
    frames = first.shape[1] // _COLOURS
    share = len(first) // frames
    kernel = first[:share, :_COLOURS] * frames**0.5  # as many inputs of each are nothing
    first.zero_()
    for frame in range(frames):
        rows = slice(frame * share, (frame + 1) * share)
        first[rows, frame * _COLOURS : (frame + 1) * _COLOURS] = kernel
        second[rows] = second[:share]


def _keeps_size(conv: nn.Conv2d) -> bool:
    return conv.groups == conv.in_channels == conv.out_channels and conv.stride == (1, 1)


def _quiet(layer: nn.Module) -> None:
    """Let what a layer adds to its residual start small."""
    for name, parameter in layer.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            parameter.mul_(0.5)
