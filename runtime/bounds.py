"""Bounds of single numbers of a command line or a configuration file."""

from __future__ import annotations

from dvla.runtime.errors import ConfigError

MAX_SEED = 2**62
"""Every episode after the first takes the next seed, and a recording holds integers of 64 bits."""
MAX_THREADS = 1024


def check_bounds(name: str, value: float, low: float, high: float) -> None:
    """Check one number.

    Args:
        name: what a person calls it, as in ``--duration``.
        value: that was given; NaN is out of any bounds.
        low, high: the smallest and the largest that are accepted.

    Raises:
        ConfigError: it is outside.
    """
    if not low <= value <= high:
        bounds = (str(bound) if isinstance(bound, int) else f"{bound:g}" for bound in (low, high))
        raise ConfigError(f"{name} is out of bounds", got=value, expected=" to ".join(bounds))


def check_seed(seed: int) -> None:
    """Raise a ConfigError unless the twin can draw its episodes from a seed."""
    check_bounds("--seed", seed, 0, MAX_SEED)
