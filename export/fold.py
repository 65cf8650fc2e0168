"""Exact rewrites of the model that leave less to compute: the same policy, fewer operators.

BatchNorms go into the convolution before them, layer scales into the projection before them, and
sqrt(hidden) into the connector's and the embedding's weights. The result computes the same function
in real arithmetic; in float32 it differs by rounding alone. Its ``state_dict`` is no longer the
official one, so it is for inference and export only.
"""

from __future__ import annotations

import copy
from itertools import chain

from dvla.export.model.fastvit import AttentionBlock, ConvBn, MixerBlock
from dvla.export.model.policy import DynamicVla
from dvla.export.model.vlm import VlmModel
from dvla.export.torch_ import Tensor, nn, torch


class FoldedMixerBlock(nn.Module):
    """A block of stages 1 to 3 whose layer scale lies in the perceptron."""

    def __init__(self, block: MixerBlock) -> None:
        super().__init__()
        self.token_mixer = block.token_mixer
        self.convffn = block.convffn

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        x = self.token_mixer(x)
        y: Tensor = x + self.convffn(x)
        return y


class FoldedAttentionBlock(nn.Module):
    """A block of stages 4 and 5 whose layer scales lie in the projections."""

    def __init__(self, block: AttentionBlock) -> None:
        super().__init__()
        self.norm = block.norm
        self.token_mixer = block.token_mixer
        self.convffn = block.convffn

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        x = x + self.token_mixer(self.norm(x))
        y: Tensor = x + self.convffn(x)
        return y


def fold_policy(policy: DynamicVla) -> DynamicVla:
    """Return an equivalent policy with every exact fold done.

    The given policy stays as it is; tensors that no fold changes are shared with it.
    """
    shared: dict[int, object] = {
        id(tensor): tensor for tensor in chain(policy.parameters(), policy.buffers())
    }
    folded = copy.deepcopy(policy, shared)
    vlm = folded.vlm
    with torch.no_grad():
        for layer in vlm.vision_model.layers:
            if isinstance(layer, nn.Sequential):
                for index, block in enumerate(layer):
                    layer[index] = _fold_block(block)
        _fold_embedding_scale(vlm)
    return folded.requires_grad_(False)


def fold_batch_norm(pair: ConvBn) -> nn.Conv2d:
    """Return one convolution with a bias that equals a convolution and its BatchNorm."""
    conv, bn = pair.conv, pair.bn
    mean, variance = bn.running_mean, bn.running_var
    assert mean is not None and variance is not None  # FastViT's BatchNorms track both
    # In float64, because the quotient is rounded once and then multiplies everything.
    gain = bn.weight.double() / torch.sqrt(variance.double() + bn.eps)
    weight = (conv.weight.double() * gain[:, None, None, None]).to(conv.weight.dtype)
    bias = (bn.bias.double() - mean.double() * gain).to(conv.weight.dtype)
    with torch.device("meta"):
        folded = nn.Conv2d(conv.in_channels, conv.out_channels, 7, padding=3, groups=conv.groups)
    folded.weight = nn.Parameter(weight, requires_grad=False)
    folded.bias = nn.Parameter(bias, requires_grad=False)
    return folded


def _fold_block(block: nn.Module) -> nn.Module:
    if isinstance(block, MixerBlock):
        _fold_ffn(block, block.layer_scale)
        return FoldedMixerBlock(block)
    if isinstance(block, AttentionBlock):
        _scale_output(block.token_mixer.proj, block.layer_scale_1.flatten())
        _fold_ffn(block, block.layer_scale_2)
        return FoldedAttentionBlock(block)
    raise TypeError(f"a stage of the vision encoder holds no {type(block).__name__}")


def _fold_ffn(block: MixerBlock | AttentionBlock, layer_scale: Tensor) -> None:
    ffn = block.convffn
    ffn.add_module("conv", fold_batch_norm(ffn.conv))
    _scale_output(ffn.fc2, layer_scale.flatten())


def _fold_embedding_scale(vlm: VlmModel) -> None:
    """Put sqrt(hidden) into the connector's last layer and into the token embedding."""
    hidden = vlm.text_model.embed_tokens
    scale = torch.tensor(vlm.embedding_scale)
    last = vlm.connector.connector[2]
    assert isinstance(last, nn.Linear)
    _scale_output(last, scale.expand(last.out_features))
    hidden.weight = nn.Parameter(hidden.weight * scale, requires_grad=False)
    vlm.embedding_scale = 1.0


def _scale_output(layer: nn.Linear | nn.Conv2d, gain: Tensor) -> None:
    """Multiply the outputs (out,) of a layer by a gain, in new tensors."""
    columns = gain.reshape(-1, *[1] * (layer.weight.dim() - 1))
    layer.weight = nn.Parameter(layer.weight * columns, requires_grad=False)
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias * gain, requires_grad=False)
