"""The vision encoder as matrix products, for training on a CPU.

Depthwise convolutions are most of the encoder's time there, and their gradients most of that. On a
small map each of them is a small dense matrix per channel, so with channels first, (C, N, H W),
depthwise and pointwise convolutions both become matrix products, and so do all their gradients. The
weights, the batch statistics and the result are those of ``FastVit``.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, cast

from dvla.export.model.fastvit import (
    AttentionBlock,
    ConvFfn,
    DownSample,
    Expansion,
    FastVit,
    MixerBlock,
    PixelAttention,
    ReparamConv,
)
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import F, Tensor, nn, torch

LARGEST_MAP = 128
"""Pixels of the largest map whose depthwise convolutions are worth a dense matrix per channel: it
grows with their square."""
LARGEST_PICTURE = 128 * 128
"""Pixels of the largest picture for which any of this is worth it."""

Grid = tuple[int, int]
"""Rows and columns of a stage."""


class Seen(NamedTuple):
    """What the encoder makes of the pictures of B observations with N cameras.

    Attributes:
        tokens: (B, N, T, hidden), for the language model.
        stages: each (C, B N, h, w), channels first of all.
    """

    tokens: Tensor
    stages: tuple[Tensor, ...]


def embed_images(policy: DynamicVla, images: Tensor) -> Seen:
    """Do what ``policy.embed_images`` does, in the faster way where it is faster.

    Args:
        policy: with weights.
        images: (B, N, 3 n_obs, H, W) in [-1, 1].
    """
    vision = policy.vlm.vision_model
    if images.device.type != "cpu" or images.shape[-2] * images.shape[-1] > LARGEST_PICTURE:
        stages = tuple(x.transpose(0, 1) for x in vision.stages(images.flatten(0, 1)))
        features = vision.conv_exp(stages[-1].transpose(0, 1))
    else:
        stages, features = _dense_features(vision, images.flatten(0, 1))
    tokens: Tensor = policy.vlm.connector(features)
    return Seen(tokens.reshape(*images.shape[:2], *tokens.shape[1:]), stages)


def _dense_features(vision: FastVit, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Map images (N, C, H, W) to all stages and to features (N, D, h, w)."""
    stages, layers, x = [], list(vision.layers), images
    for layer in vision.patch_embedding:
        x = F.gelu(layer(x))
    while x.shape[-2] * x.shape[-1] > LARGEST_MAP:
        layer = layers.pop(0)
        x = layer(x)
        if isinstance(layer, nn.Sequential):
            stages.append(x.transpose(0, 1))
    grid = (x.shape[-2], x.shape[-1])
    x = x.flatten(2).transpose(0, 1).contiguous()
    for layer in layers:
        x, grid = _layer(layer, x, grid)
        if isinstance(layer, nn.Sequential):
            stages.append(x.reshape(*x.shape[:2], *grid))
    x = _expansion(vision.conv_exp, x, grid)
    return tuple(stages), x.transpose(0, 1).reshape(len(images), -1, *grid)


def _layer(layer: nn.Module, x: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
    """Run a stage, a down-sampling or a position encoding."""
    if isinstance(layer, nn.Sequential):
        for block in layer:
            x = _block(block, x, grid)
        return x, grid
    if isinstance(layer, DownSample):
        large, point = cast("Any", layer.proj)
        x = F.gelu(_depthwise(large.lkb_reparam, x, grid))
        return F.gelu(_pointwise(point.reparam_conv, x)), (-(-grid[0] // 2), -(-grid[1] // 2))
    return _depthwise(cast("ReparamConv", layer).reparam_conv, x, grid), grid


def _block(block: nn.Module, x: Tensor, grid: Grid) -> Tensor:
    if isinstance(block, MixerBlock):
        x = _depthwise(block.token_mixer.reparam_conv, x, grid)
        return x + block.layer_scale * _ffn(block.convffn, x, grid)
    attention = cast("AttentionBlock", block)
    normed = F.layer_norm(
        x.movedim(0, -1), x.shape[:1], attention.norm.weight, attention.norm.bias, 1e-5
    )
    x = x + attention.layer_scale_1 * _attention(attention.token_mixer, normed).movedim(-1, 0)
    return x + attention.layer_scale_2 * _ffn(attention.convffn, x, grid)


def _attention(attention: PixelAttention, pixels: Tensor) -> Tensor:
    """Map (N, pixels, C) to the same shape."""
    n, count, dim = pixels.shape
    qkv = attention.qkv(pixels).reshape(n, count, 3, dim // attention.head_dim, attention.head_dim)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    weights = torch.softmax(q @ k.transpose(-1, -2) * attention.head_dim**-0.5, dim=-1)
    mixed: Tensor = attention.proj((weights @ v).transpose(1, 2).reshape(n, count, dim))
    return mixed


def _ffn(ffn: ConvFfn, x: Tensor, grid: Grid) -> Tensor:
    bn = ffn.conv.bn
    y = _depthwise(ffn.conv.conv, x, grid)
    y = F.batch_norm(
        y.transpose(0, 1), bn.running_mean, bn.running_var, bn.weight, bn.bias,
        bn.training, 0.1, bn.eps,
    ).transpose(0, 1)  # fmt: skip
    if bn.training and bn.num_batches_tracked is not None:
        bn.num_batches_tracked.add_(1)
    return _pointwise(ffn.fc2, F.gelu(_pointwise(ffn.fc1, y)))


def _expansion(expansion: Expansion, x: Tensor, grid: Grid) -> Tensor:
    x = _depthwise(expansion.reparam_conv, x, grid)
    mean = x.mean(dim=2, keepdim=True)
    gate = _pointwise(expansion.se.expand, F.relu(_pointwise(expansion.se.reduce, mean)))
    return F.gelu(x * torch.sigmoid(gate))


def _pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Map (C, N, P) to (D, N, P)."""
    return _shift(conv, (conv.weight.flatten(1) @ x.flatten(1)).reshape(-1, *x.shape[1:]))


def _shift(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return x if conv.bias is None else x + conv.bias[:, None, None]


def _depthwise(conv: nn.Conv2d, x: Tensor, grid: Grid) -> Tensor:
    """Map (C, N, pixels) to (D, N, pixels / stride^2): one dense matrix per channel."""
    kernel, stride, channels = conv.kernel_size[0], int(conv.stride[0]), x.shape[0]
    placing = _placing(kernel, stride, grid)
    dense = (conv.weight.flatten(1) @ placing).reshape(conv.out_channels, grid[0] * grid[1], -1)
    if conv.out_channels == channels:
        return _shift(conv, torch.bmm(x, dense))
    # Several outputs of a channel stand side by side in one matrix.
    dense = dense.reshape(channels, -1, *dense.shape[1:]).transpose(1, 2)
    y = torch.bmm(x, dense.flatten(2)).reshape(*x.shape[:2], *dense.shape[2:])
    return _shift(conv, y.transpose(1, 2).flatten(0, 1))


@functools.cache
def _placing(kernel: int, stride: int, grid: Grid) -> Tensor:
    """Return where each weight of a kernel stands in its dense matrix (k^2, in * out), 0 or 1."""
    rows, columns = (_taps(kernel, stride, cells) for cells in grid)
    both = torch.einsum("ayb,cxd->acyxbd", rows, columns)
    return both.flatten(4, 5).flatten(2, 3).flatten(0, 1).flatten(1).contiguous()


def _taps(kernel: int, stride: int, cells: int) -> Tensor:
    """Return which weight of a kernel joins two cells along one axis (k, in, out), 0 or 1."""
    at_in, at_out = torch.arange(cells), torch.arange(-(-cells // stride))
    tap = at_in[:, None] - stride * at_out[None] + kernel // 2
    return (tap[None] == torch.arange(kernel)[:, None, None]).to(torch.float32)
