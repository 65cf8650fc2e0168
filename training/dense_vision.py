"""The vision encoder as matrix products, for training on a CPU.

Depthwise convolutions are most of the encoder's time there, and their gradients most of that. On a
small picture each of them is a small dense matrix per channel, so with channels first, (C, N, H W),
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

LARGEST_SIDE = 16
"""Largest first stage that is worth it: a dense matrix grows with the fourth power of the side."""


class Seen(NamedTuple):
    """What the encoder makes of the pictures of B observations with N cameras.

    Attributes:
        tokens: (B, N, T, hidden), for the language model.
        stages: of the five, each (C, B N, h, w), channels first of all.
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
    side = images.shape[-1] // 4
    if images.device.type != "cpu" or images.shape[-2] // 4 != side or side > LARGEST_SIDE:
        stages = tuple(x.transpose(0, 1) for x in vision.stages(images.flatten(0, 1)))
        features = vision.conv_exp(stages[-1].transpose(0, 1))
    else:
        stages, features = _dense_features(vision, images.flatten(0, 1))
    tokens: Tensor = policy.vlm.connector(features)
    return Seen(tokens.reshape(*images.shape[:2], *tokens.shape[1:]), stages)


def _dense_features(vision: FastVit, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Map square images (N, C, H, H) to all stages and to features (N, D, h, h)."""
    x, side = _stem(vision, images)
    stages = []
    for layer in vision.layers:
        x, side = _layer(layer, x, side)
        if isinstance(layer, nn.Sequential):
            stages.append(x.reshape(*x.shape[:2], side, side))
    x = _expansion(vision.conv_exp, x, side)
    return tuple(stages), x.transpose(0, 1).reshape(len(images), -1, side, side)


def _stem(vision: FastVit, images: Tensor) -> tuple[Tensor, int]:
    first, second, third = (cast("ReparamConv", m).reparam_conv for m in vision.patch_embedding)
    half = images.shape[-1] // 2
    patches = F.unfold(images, 3, padding=1, stride=2).transpose(0, 1).flatten(1)
    x = _shift(first, (first.weight.flatten(1) @ patches).reshape(-1, len(images), half * half))
    x = F.gelu(x).reshape(len(x), -1, half, half)
    x = _halving_conv().apply(x, second.weight[:, 0])
    x = F.gelu(_shift(second, x.flatten(2)))
    return F.gelu(_pointwise(third, x)), half // 2


def _layer(layer: nn.Module, x: Tensor, side: int) -> tuple[Tensor, int]:
    """Run a stage, a down-sampling or a position encoding."""
    if isinstance(layer, nn.Sequential):
        for block in layer:
            x = _block(block, x, side)
        return x, side
    if isinstance(layer, DownSample):
        large, point = cast("Any", layer.proj)
        x = F.gelu(_depthwise(large.lkb_reparam, x, side))
        return F.gelu(_pointwise(point.reparam_conv, x)), -(-side // 2)
    return _depthwise(cast("ReparamConv", layer).reparam_conv, x, side), side


def _block(block: nn.Module, x: Tensor, side: int) -> Tensor:
    if isinstance(block, MixerBlock):
        x = _depthwise(block.token_mixer.reparam_conv, x, side)
        return x + block.layer_scale * _ffn(block.convffn, x, side)
    attention = cast("AttentionBlock", block)
    normed = F.layer_norm(
        x.movedim(0, -1), x.shape[:1], attention.norm.weight, attention.norm.bias, 1e-5
    )
    x = x + attention.layer_scale_1 * _attention(attention.token_mixer, normed).movedim(-1, 0)
    return x + attention.layer_scale_2 * _ffn(attention.convffn, x, side)


def _attention(attention: PixelAttention, pixels: Tensor) -> Tensor:
    """Map (N, pixels, C) to the same shape."""
    n, count, dim = pixels.shape
    qkv = attention.qkv(pixels).reshape(n, count, 3, dim // attention.head_dim, attention.head_dim)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    weights = torch.softmax(q @ k.transpose(-1, -2) * attention.head_dim**-0.5, dim=-1)
    mixed: Tensor = attention.proj((weights @ v).transpose(1, 2).reshape(n, count, dim))
    return mixed


def _ffn(ffn: ConvFfn, x: Tensor, side: int) -> Tensor:
    bn = ffn.conv.bn
    y = _depthwise(ffn.conv.conv, x, side)
    y = F.batch_norm(
        y.transpose(0, 1), bn.running_mean, bn.running_var, bn.weight, bn.bias,
        bn.training, 0.1, bn.eps,
    ).transpose(0, 1)  # fmt: skip
    if bn.training and bn.num_batches_tracked is not None:
        bn.num_batches_tracked.add_(1)
    return _pointwise(ffn.fc2, F.gelu(_pointwise(ffn.fc1, y)))


def _expansion(expansion: Expansion, x: Tensor, side: int) -> Tensor:
    x = _depthwise(expansion.reparam_conv, x, side)
    mean = x.mean(dim=2, keepdim=True)
    gate = _pointwise(expansion.se.expand, F.relu(_pointwise(expansion.se.reduce, mean)))
    return F.gelu(x * torch.sigmoid(gate))


def _pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Map (C, N, P) to (D, N, P)."""
    return _shift(conv, (conv.weight.flatten(1) @ x.flatten(1)).reshape(-1, *x.shape[1:]))


def _shift(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return x if conv.bias is None else x + conv.bias[:, None, None]


def _depthwise(conv: nn.Conv2d, x: Tensor, side: int) -> Tensor:
    """Map (C, N, side^2) to (D, N, (side / stride)^2): one dense matrix per channel."""
    kernel, stride, channels = conv.kernel_size[0], int(conv.stride[0]), x.shape[0]
    placing = _placing(kernel, stride, side)
    dense = (conv.weight.flatten(1) @ placing).reshape(conv.out_channels, side * side, -1)
    if conv.out_channels == channels:
        return _shift(conv, torch.bmm(x, dense))
    # Several outputs of a channel stand side by side in one matrix.
    dense = dense.reshape(channels, -1, *dense.shape[1:]).transpose(1, 2)
    y = torch.bmm(x, dense.flatten(2)).reshape(*x.shape[:2], *dense.shape[2:])
    return _shift(conv, y.transpose(1, 2).flatten(0, 1))


@functools.cache
def _placing(kernel: int, stride: int, side: int) -> Tensor:
    """Return where each weight of a kernel stands in its dense matrix (k^2, in * out), 0 or 1."""
    at_in = torch.arange(side)
    at_out = torch.arange(-(-side // stride))
    tap = at_in[:, None] - stride * at_out[None] + kernel // 2  # (in, out), one axis
    one = (tap[None] == torch.arange(kernel)[:, None, None]).to(torch.float32)
    both = torch.einsum("ayb,cxd->acyxbd", one, one)
    return both.flatten(4, 5).flatten(2, 3).flatten(0, 1).flatten(1).contiguous()


@functools.cache
def _halving_conv() -> Any:
    """Return the function below; without torch there is no class to derive it from."""

    class HalvingConv(torch.autograd.Function):
        """A depthwise 3x3 convolution of stride 2 on (C, N, H, W): nine taps of strided views."""

        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            padded = F.pad(x, (1, 1, 1, 1))
            ctx.save_for_backward(padded, weight)
            out = x.new_zeros(*x.shape[:2], x.shape[2] // 2, x.shape[3] // 2)
            for row in range(3):
                for column in range(3):
                    out.addcmul_(
                        _tap(padded, row, column), weight[:, row, column, None, None, None]
                    )
            return out

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
            (grad,) = grads
            padded, weight = ctx.saved_tensors
            grad_x, grad_weight = torch.zeros_like(padded), torch.empty_like(weight)
            for row in range(3):
                for column in range(3):
                    _tap(grad_x, row, column).addcmul_(
                        grad, weight[:, row, column, None, None, None]
                    )
                    products = grad * _tap(padded, row, column)
                    grad_weight[:, row, column] = products.sum(dim=(1, 2, 3))
            return grad_x[:, :, 1:-1, 1:-1], grad_weight

    return HalvingConv


def _tap(padded: Tensor, row: int, column: int) -> Tensor:
    """Return the pixels that one weight of the kernel meets, a view."""
    height, width = padded.shape[2] - 2, padded.shape[3] - 2
    return padded[:, :, row : row + height : 2, column : column + width : 2]
