"""DVLA: the runtime that puts DynamicVLA policies on robot arms.

The public face is ``Observation``, ``Policy`` and ``Chunk``; they are loaded on first use, so that
``import dvla`` costs nothing and works with no extra installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Chunk", "DvlaError", "Observation", "Policy", "__version__"]

if TYPE_CHECKING:
    from dvla.engines.errors import DvlaError
    from dvla.runtime.chunk import Chunk
    from dvla.runtime.observation import Observation
    from dvla.runtime.policy import Policy

_HOMES = {
    "Chunk": "dvla.runtime.chunk",
    "DvlaError": "dvla.engines.errors",
    "Observation": "dvla.runtime.observation",
    "Policy": "dvla.runtime.policy",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its home module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dvla' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
