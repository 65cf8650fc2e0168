"""PyTorch, loaded on first use, and the loader of its compiled packages."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from dvla.engines.errors import EngineMismatch
from dvla.engines.torch_unpacked import remove_abandoned

_RUNNERS = 1
_FIRST_DEVICE = -1


class Program(Protocol):
    """A compiled graph: tensors in, tensors out, in the order of its declaration."""

    def run(self, inputs: list[Any]) -> list[Any]:
        """Run once on the current stream."""


@cache
def library() -> Any:
    """Return torch, told to compute float32 as float32."""
    # OpenMP reads this when torch is imported: idle threads that spin starve the servo.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    torch = import_module("torch")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch


def on_gpu() -> bool:
    """Whether this machine has a GPU that torch can use."""
    return bool(library().cuda.is_available())


def load_program(package: Path, single_threaded: bool) -> Program:
    """Load a package whose content was checked before.

    Torch's own ``load_package`` reads the archive's other parts as well, and unpickles some of
    them. The loader underneath only unpacks the archive and opens the shared library in it.

    Args:
        package: of AOTInductor.
        single_threaded: without its own locks, as a CUDA graph needs it.
    """
    loader = getattr(library()._C, "_aoti", None)
    if loader is None:
        raise EngineMismatch(
            "This version of torch has no loader of AOTInductor packages",
            got=f"torch {library().__version__}",
            expected="torch 2.7 or later",
        )
    remove_abandoned()
    program: Program = loader.AOTIModelPackageLoader(
        str(package), "model", single_threaded, _RUNNERS, _FIRST_DEVICE
    )
    return program
