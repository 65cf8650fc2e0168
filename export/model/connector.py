"""The bridge from vision features to the width of the language model."""

from __future__ import annotations

from dvla.export.torch_ import Tensor, nn


class Connector(nn.Module):
    """Linear, GELU, Linear; one token per pixel of the feature map."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.connector = nn.Sequential(
            nn.Linear(dim_in, dim_out), nn.GELU(), nn.Linear(dim_out, dim_out)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, C, h, w) to tokens (N, h * w, D), row by row."""
        tokens: Tensor = self.connector(features.flatten(2).transpose(1, 2))
        return tokens
