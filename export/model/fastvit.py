"""FastViT-HD in its re-parameterised (inference) form: every branch is one convolution already."""

from __future__ import annotations

from itertools import pairwise

from dvla.export.arch import VisionArch
from dvla.export.torch_ import F, Tensor, nn, torch


class ReparamConv(nn.Module):
    """A convolution that training built from several branches."""

    def __init__(self, dim_in: int, dim_out: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__()
        self.reparam_conv = nn.Conv2d(dim_in, dim_out, kernel, stride, kernel // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, D, H / stride, W / stride)."""
        y: Tensor = self.reparam_conv(x)
        return y


class LargeKernel(nn.Module):
    """A depthwise 7x7 convolution of stride 2 that doubles the channels."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.lkb_reparam = nn.Conv2d(dim_in, dim_out, 7, 2, 3, groups=dim_in)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, D, H / 2, W / 2)."""
        y: Tensor = self.lkb_reparam(x)
        return y


class DownSample(nn.Module):
    """Between stages: large kernel, GELU, pointwise, GELU."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.proj = nn.ModuleList([LargeKernel(dim_in, dim_out), ReparamConv(dim_out, dim_out, 1)])

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, D, H / 2, W / 2)."""
        for layer in self.proj:
            x = F.gelu(layer(x))
        return x


class ConvBn(nn.Module):
    """A depthwise 7x7 convolution and the only BatchNorm of the network."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 7, 1, 3, groups=dim, bias=False)
        self.bn = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        y: Tensor = self.bn(self.conv(x))
        return y


class ConvFfn(nn.Module):
    """Depthwise 7x7 with BatchNorm, then a two-layer perceptron at each pixel."""

    def __init__(self, dim: int, mlp: int) -> None:
        super().__init__()
        self.conv = ConvBn(dim)
        self.fc1 = nn.Conv2d(dim, mlp, 1)
        self.fc2 = nn.Conv2d(mlp, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        y: Tensor = self.fc2(F.gelu(self.fc1(self.conv(x))))
        return y


class MixerBlock(nn.Module):
    """Stages 1 to 3: mix pixels by a depthwise 3x3, then add the scaled ConvFfn."""

    def __init__(self, dim: int, mlp: int) -> None:
        super().__init__()
        self.layer_scale = nn.Parameter(torch.ones(dim, 1, 1))
        self.token_mixer = ReparamConv(dim, dim, 3, groups=dim)
        self.convffn = ConvFfn(dim, mlp)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        x = self.token_mixer(x)
        y: Tensor = x + self.layer_scale * self.convffn(x)
        return y


class ChannelNorm(nn.Module):
    """LayerNorm over the channels at each pixel."""

    eps = 1e-5

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        last = F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, self.eps)
        return last.movedim(-1, 1)


class PixelAttention(nn.Module):
    """Multi-head self-attention among all pixels."""

    def __init__(self, dim: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        n, dim, height, width = x.shape
        pixels = x.flatten(2).transpose(1, 2)
        qkv = self.qkv(pixels).reshape(n, height * width, 3, dim // self.head_dim, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-1, -2) * self.head_dim**-0.5, dim=-1)
        mixed = (weights @ v).transpose(1, 2).reshape(n, height * width, dim)
        projected: Tensor = self.proj(mixed)
        return projected.transpose(1, 2).reshape(n, dim, height, width)


class AttentionBlock(nn.Module):
    """Stages 4 and 5: add the scaled attention, then the scaled ConvFfn."""

    def __init__(self, dim: int, mlp: int, head_dim: int) -> None:
        super().__init__()
        self.layer_scale_1 = nn.Parameter(torch.ones(dim, 1, 1))
        self.layer_scale_2 = nn.Parameter(torch.ones(dim, 1, 1))
        self.norm = ChannelNorm(dim)
        self.token_mixer = PixelAttention(dim, head_dim)
        self.convffn = ConvFfn(dim, mlp)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        x = x + self.layer_scale_1 * self.token_mixer(self.norm(x))
        y: Tensor = x + self.layer_scale_2 * self.convffn(x)
        return y


class SqueezeExcite(nn.Module):
    """Scale every channel by a gate computed from the mean of all channels."""

    def __init__(self, dim: int, squeeze: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(dim, squeeze, 1)
        self.expand = nn.Conv2d(squeeze, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        mean = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.expand(F.relu(self.reduce(mean))))


class Expansion(nn.Module):
    """The last layer: depthwise 3x3 that widens, squeeze-and-excite, GELU."""

    def __init__(self, dim_in: int, dim_out: int, squeeze: int) -> None:
        super().__init__()
        self.se = SqueezeExcite(dim_out, squeeze)
        self.reparam_conv = nn.Conv2d(dim_in, dim_out, 3, 1, 1, groups=dim_in)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, D, H, W)."""
        return F.gelu(self.se(self.reparam_conv(x)))


class FastVit(nn.Module):
    """The vision encoder: a stem, stages, an expansion; of five stages, 1/64 of the resolution.

    The published encoder has five. One for small pictures may have four, which end at 1/32, or
    three, which end at 1/16.
    """

    def __init__(self, arch: VisionArch) -> None:
        super().__init__()
        dims = arch.dims
        self.patch_embedding = nn.ModuleList(
            [
                ReparamConv(arch.in_channels, dims[0], 3, stride=2),
                ReparamConv(dims[0], dims[0], 3, stride=2, groups=dims[0]),
                ReparamConv(dims[0], dims[0], 1),
            ]
        )
        stages = [self._stage(arch, stage) for stage in range(len(dims))]
        layers: list[nn.Module] = [stages[0]]
        for stage, (dim_in, dim) in enumerate(pairwise(dims), start=1):
            layers.append(DownSample(dim_in, dim))
            if stage >= 3:
                layers.append(ReparamConv(dim, dim, 7, groups=dim))  # position encoding
            layers.append(stages[stage])
        self.layers = nn.ModuleList(layers)
        self.conv_exp = Expansion(dims[-1], arch.out_dim, arch.squeeze_dim)

    @staticmethod
    def _stage(arch: VisionArch, stage: int) -> nn.Sequential:
        dim, mlp = arch.dims[stage], arch.mlp_dims[stage]
        blocks: list[nn.Module] = [
            AttentionBlock(dim, mlp, arch.head_dim) if stage >= 3 else MixerBlock(dim, mlp)
            for _ in range(arch.n_blocks[stage])
        ]
        return nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Map prepared images (N, 3 * n_obs, H, W) to features (N, D, h, w) of the last stage."""
        features: Tensor = self.conv_exp(self.stages(images)[-1])
        return features

    def stages(self, images: Tensor) -> list[Tensor]:
        """Return what each stage makes of prepared images, from 1/4 of their size down."""
        x, outputs = images, []
        for layer in self.patch_embedding:
            x = F.gelu(layer(x))
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.Sequential):
                outputs.append(x)
        return outputs
