"""Pieces of the documentation's measured tables."""

from __future__ import annotations

from collections.abc import Iterable

from dvla.runtime.machine import Machine


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def said(command: str, machine: Machine) -> str:
    """Return the sentence that tells how and where something was measured."""
    return f"`{command}`: {machine.cpu}; load average {machine.load_1m:.1f} before.\n"
