"""Mutants: a module with one change in its source, to prove that a named test notices."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def mutant(module: ModuleType, old: str, new: str) -> ModuleType:
    """Return a copy of ``module`` with ``old`` replaced by ``new`` in its source.

    Raises:
        AssertionError: ``old`` does not occur exactly once, so the mutant would not be one.
    """
    source = Path(str(module.__file__)).read_text()
    assert source.count(old) == 1, f"{source.count(old)} occurrences of {old!r}"
    copy = ModuleType(f"{module.__name__}_mutant")
    copy.__file__ = module.__file__
    # Struct types look their annotations up in the module that they name.
    sys.modules[copy.__name__] = copy
    exec(compile(source.replace(old, new), str(module.__file__), "exec"), copy.__dict__)
    return copy
