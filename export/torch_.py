"""Torch where it is installed, and a placeholder that says how to get it where it is not.

The model's classes derive from ``nn.Module``, and an optimiser of ours from torch's, so their files
need torch to be defined at all. The placeholder lets those files be imported with the base install;
the first use raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dvla.engines.errors import MissingDependency

__all__ = ["F", "Optimizer", "Tensor", "nn", "torch"]


def missing_torch() -> MissingDependency:
    """Return the error that says how torch is installed."""
    return MissingDependency(
        "Reading a checkpoint as a model needs PyTorch, which is not installed",
        next_command="pip install 'dvla[export]'",
    )


class _MissingModule:
    """Stands for a base class of torch: its instances cannot be made."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        raise missing_torch()


class _Missing:
    """Stands for a namespace of torch: every use but ``nn.Module`` raises."""

    Module = _MissingModule

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise missing_torch()


if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F
    from torch.optim import Optimizer
else:
    try:
        import torch
        from torch import Tensor, nn
        from torch.nn import functional as F
        from torch.optim import Optimizer
    except ModuleNotFoundError:
        torch = nn = F = _Missing()
        Optimizer = Tensor = _MissingModule
