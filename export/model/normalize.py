"""Mean and standard deviation of the state and the actions, as the checkpoint stores them."""

from __future__ import annotations

from dvla.export.torch_ import Tensor, nn, torch

EPS = 1e-8


class Statistics(nn.Module):
    """Mean and standard deviation of one feature, in the feature's own units."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def normalize(self, x: Tensor) -> Tensor:
        """Bring x (..., D) to zero mean and unit deviation."""
        return (x - self.mean) / (self.std + EPS)

    def unnormalize(self, x: Tensor) -> Tensor:
        """Invert ``normalize``."""
        return x * (self.std + EPS) + self.mean


class StateNormalizer(nn.Module):
    """Holds the statistics of the state under their official name."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.buffer_observation_state = Statistics(dim)


class ActionNormalizer(nn.Module):
    """Holds the statistics of the actions under their official name."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.buffer_action = Statistics(dim)
