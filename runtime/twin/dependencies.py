"""Lazy imports of what the twin needs, so that the base install imports every module."""

from __future__ import annotations

import importlib
from types import ModuleType

from dvla.engines.errors import MissingDependency


def import_mujoco() -> ModuleType:
    """Return the module ``mujoco``, or say how to install it."""
    return _import("mujoco")


def import_mink() -> ModuleType:
    """Return the module ``mink``, or say how to install it."""
    return _import("mink")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependency(
            f"The simulated arm needs the Python package {name}",
            got=str(error),
            next_command='pip install "dvla[sim]"',
        ) from error
