"""Subjects measured in alternation: what slows one of them down slows its peers down as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

Durations = Mapping[str, float]


class Runnable(Protocol):
    """Something that can be run once and says how long each of its parts took."""

    @property
    def name(self) -> str:
        """What the results are filed under."""

    def run(self) -> Durations:
        """Run once; return seconds by part."""


class Alternation(msgspec.Struct, frozen=True, kw_only=True):
    """What an alternation gave.

    Attributes:
        order: subjects of each round, in the order in which they ran; warm-up left out.
        samples_s: by subject and part, one duration per round.
    """

    order: tuple[tuple[str, ...], ...]
    samples_s: dict[str, dict[str, tuple[float, ...]]]


def alternate(
    subjects: Sequence[Runnable],
    rounds: int,
    warm_up_rounds: int,
    progress: Callable[[int], None] = lambda _round: None,
) -> Alternation:
    """Run every subject once per round, in an order that reverses from round to round.

    So each subject precedes and follows each other equally often, and a drift of the machine
    (clocks, heat, neighbours) cancels in the ratio of a round.

    Args:
        subjects: with different names.
        rounds: that count.
        warm_up_rounds: before them, that do not.
        progress: called with the number of every finished round that counts.
    """
    names = [subject.name for subject in subjects]
    if len(set(names)) != len(names):
        raise ValueError(f"subjects share a name: {names}")
    order: list[tuple[str, ...]] = []
    samples: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for index in range(-warm_up_rounds, rounds):
        turn = list(subjects) if index % 2 == 0 else list(reversed(subjects))
        found = {subject.name: subject.run() for subject in turn}
        if index < 0:
            continue
        order.append(tuple(subject.name for subject in turn))
        for name, durations_s in found.items():
            for part, duration_s in durations_s.items():
                samples[name].setdefault(part, []).append(duration_s)
        progress(index + 1)
    return Alternation(
        order=tuple(order),
        samples_s={
            name: {part: tuple(values) for part, values in parts.items()}
            for name, parts in samples.items()
        },
    )
