"""Mutants: a module with one change in its source, to prove that a named test notices."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import FunctionType, ModuleType


def mutant(module: ModuleType, old: str, new: str) -> ModuleType:
    """Return a copy of ``module`` with ``old`` replaced by ``new`` in its source.

    Raises:
        AssertionError: ``old`` does not occur exactly once, so the mutant would not be one.
    """
    source = Path(str(module.__file__)).read_text()
    assert source.count(old) == 1, f"{source.count(old)} occurrences of {old!r}"
    return _copy(module, source.replace(old, new))


def mutant_within(wholes: Sequence[ModuleType], part: ModuleType, old: str, new: str) -> ModuleType:
    """Return a copy of the last of ``wholes`` that is built on a mutant of ``part``.

    Args:
        wholes: modules that use the part, or one another, each after those that it uses.
        part: which is changed; it may be one of them.
        old: source in it.
        new: what it becomes.
    """
    changed = {part.__name__: (part, mutant(part, old, new))}
    for whole in wholes:
        if whole is not part:
            copy = _copy(whole, Path(str(whole.__file__)).read_text())
            for original, broken in changed.values():
                _use(copy, original, broken)
            changed[whole.__name__] = (whole, copy)
    return changed[wholes[-1].__name__][1]


def _use(copy: ModuleType, original: ModuleType, broken: ModuleType) -> None:
    """Have a module use what ``broken`` defines where it imported that of ``original``."""
    for name, value in vars(original).items():
        if isinstance(value, type | FunctionType) and vars(copy).get(name) is value:
            setattr(copy, name, getattr(broken, name))


def _copy(module: ModuleType, source: str) -> ModuleType:
    """Return a module of other source that believes to be ``module``."""
    copy = ModuleType(f"{module.__name__}_mutant")
    copy.__file__ = module.__file__
    # Struct types look their annotations up in the module that they name.
    sys.modules[copy.__name__] = copy
    exec(compile(source, str(module.__file__), "exec"), copy.__dict__)
    return copy
