"""Which seeds training may draw: those of the benchmark's tests are kept out of every dataset."""

from __future__ import annotations

from collections.abc import Iterable

from dvla.engines.errors import UsageError

TEST_SEEDS = range(20_000, 40_000)
"""Frozen test episodes of ``dvla-bench dom``; nothing may be trained or selected on them."""
VALIDATION_SEEDS = range(40_000, 50_000)
"""Episodes on which checkpoints may be compared while training goes on."""
TRAINING_START = 100_000


def refuse_test_seeds(seeds: Iterable[int]) -> None:
    """Raise a UsageError when a seed belongs to the benchmark's tests or to validation."""
    for seed in seeds:
        for name, reserved in (("tests", TEST_SEEDS), ("validation", VALIDATION_SEEDS)):
            if seed in reserved:
                raise UsageError(
                    f"A seed is reserved for the benchmark's {name}",
                    got=seed,
                    expected=f"seeds outside {reserved.start} to {reserved.stop - 1}, "
                    f"such as {TRAINING_START} and up",
                )
