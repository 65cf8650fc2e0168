"""Lazy imports of what the twin needs, so that the base install imports every module."""

from __future__ import annotations

import importlib
from types import ModuleType

from dvla.engines.errors import MissingDependency


def import_mujoco() -> ModuleType:
    """Return the module ``mujoco``, or say how to install it."""
    try:
        return importlib.import_module("mujoco")
    except ImportError as error:
        raise MissingDependency(
            "The simulated arm needs the Python package mujoco",
            got=str(error),
            next_command='pip install "dvla[sim]"',
        ) from error
