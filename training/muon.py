"""Steps of equal size in all directions of a matrix, for the layers that see and read.

Of the gradient's mean over the last steps the singular values are all set to about one, by a few
steps of Newton and Schulz (Jordan et al., 2024), and the step is scaled to the size that one of
Adam would have (Liu et al., 2025, arXiv 2502.16982). Directions that are rare in the data are
learned as fast as those that are in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from dvla.export.torch_ import Optimizer, Tensor, nn, torch

MOMENTUM = 0.95
ADAM_SIZE = 0.2
"""Root mean square of the entries of a step of Adam, in learning rates."""
_STEPS = 5
_POLYNOMIAL = 3.4445, -4.7750, 2.0315
_WIDEST_ANSWER = 8
"""Outputs of a layer that answers, which are no features: their sizes mean something."""


class Muon(Optimizer):
    """Trains matrices, and convolutions as matrices of a row per output.

    Args:
        parameters: each of at least two dimensions.
        lr: learning rate, on the scale of Adam's.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        super().__init__(list(parameters), {"lr": lr})

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along what the gradients say."""
        del closure  # the interface's; gradients are there already
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._move(parameter, group["lr"])

    def _move(self, parameter: Tensor, lr: float) -> None:
        assert parameter.grad is not None
        state, gradient = self.state[parameter], parameter.grad.flatten(1)
        if not state:
            state["mean"] = torch.zeros_like(gradient)
        mean = state["mean"].lerp_(gradient, 1.0 - MOMENTUM)
        step = orthogonal(gradient.lerp(mean, MOMENTUM))
        size = ADAM_SIZE * max(step.shape) ** 0.5
        parameter.add_(step.view_as(parameter), alpha=-lr * size)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return a matrix of the same directions whose singular values are between 0.7 and 1.2.

    Those that are far smaller than the largest remain smaller.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    first, third, fifth = _POLYNOMIAL
    for _ in range(_STEPS):
        square = x @ x.T
        x = first * x + (third * square + fifth * square @ square) @ x
    answer: Tensor = x.T if tall else x
    return answer


def feature_matrices(*modules: nn.Module) -> list[Tensor]:
    """Return the trained weights that mix features: of dense layers and ordinary convolutions."""
    found: list[Tensor] = []
    for module in (each for whole in modules for each in whole.modules()):
        if isinstance(module, nn.Conv2d):
            mixes = module.groups == 1
        else:
            mixes = isinstance(module, nn.Linear) and module.out_features > _WIDEST_ANSWER
        if mixes and cast("Tensor", module.weight).requires_grad:
            found.append(cast("Tensor", module.weight))
    return found
