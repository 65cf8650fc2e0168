"""Axes that benchmarks need besides the linear ones: logarithms, and categories with bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.report.svg import BOTTOM, LEFT, RIGHT, TOP, Axes

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def decades(low: float, high: float) -> tuple[float, float]:
    """Return the powers of ten that enclose a range of positive values."""
    return 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high) + 1e-9)


def short_number(value: float) -> str:
    """Return a number in few characters, as ``10 G`` or ``0.1``."""
    for size, letter in _PREFIXES:
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


class LogAxes(Axes):
    """Both axes are logarithmic; ranges and values are positive."""

    def px(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pixels of x values."""
        low, high = self._x
        share = np.log(np.asarray(x) / low) / math.log(high / low)
        return np.asarray(LEFT + share * (self._width - LEFT - RIGHT), np.float64)

    def py(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pixels of y values."""
        low, high = self._y
        share = np.log(np.maximum(np.asarray(y), low) / low) / math.log(high / low)
        return np.asarray(self._height - BOTTOM - share * (self._height - TOP - BOTTOM), np.float64)

    def note(self, x: float, y: float, text: str, colour: str, anchor: str = "start") -> None:
        """Write a word beside a point."""
        px, py = float(self.px(np.array([x]))[0]), float(self.py(np.array([y]))[0])
        dx = {"start": 7, "end": -7, "middle": 0}[anchor]
        self._marks.append(
            f'<text x="{px + dx:.1f}" y="{py + 4:.1f}" text-anchor="{anchor}" fill="{colour}">'
            f"{escape(text)}</text>"
        )

    def _grid(self) -> str:
        right, bottom = self._width - RIGHT, self._height - BOTTOM
        parts = []
        for tick in _powers(*self._x):
            x = float(self.px(np.array([tick]))[0])
            parts.append(
                f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>'
                f'<text class="tick" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">'
                f"{short_number(tick)}</text>"
            )
        return "".join(parts) + _horizontal_grid(self, _powers(*self._y), right)


class BarAxes(LogAxes):
    """Groups of bars by name, on a logarithmic scale of positive values."""

    def __init__(
        self,
        title: str,
        *,
        y_label: str,
        y_range: tuple[float, float],
        groups: Sequence[str],
        size: tuple[int, int] = (640, 260),
    ) -> None:
        super().__init__(
            title,
            x_label="",
            y_label=y_label,
            x_range=(0.0, float(len(groups))),
            y_range=y_range,
            size=size,
        )
        self._groups = groups

    def px(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pixels of x values, one unit per group."""
        return Axes.px(self, x)

    def group_bar(
        self, group: int, slot: tuple[int, int], value: float, colour: str, tip: str
    ) -> None:
        """Draw bar ``slot`` (index, count) of a group."""
        index, count = slot
        width = 0.8 / count
        x0 = group + 0.1 + index * width
        self.bar(x0, x0 + 0.94 * width, value, colour, tip)

    def group_mark(self, group: int, slot: tuple[int, int], value: float, colour: str) -> None:
        """Draw a short line across bar ``slot`` of a group."""
        index, count = slot
        width = 0.8 / count
        x0 = group + 0.1 + index * width
        self.line([x0 - 0.01, x0 + 0.95 * width], [value, value], colour)

    def key(self, label: str, colour: str) -> None:
        """Add an entry to the legend."""
        self._legend.append((label, colour))

    def _grid(self) -> str:
        bottom = self._height - BOTTOM
        names = "".join(
            f'<text class="tick" x="{float(self.px(np.array([index + 0.5]))[0]):.1f}" '
            f'y="{bottom + 15}" text-anchor="middle">{escape(name)}</text>'
            for index, name in enumerate(self._groups)
        )
        return _horizontal_grid(self, _powers(*self._y), self._width - RIGHT) + names


def _horizontal_grid(axes: Axes, ticks: list[float], right: int) -> str:
    """Return lines and numbers at the ticks of y."""
    parts = []
    for tick in ticks:
        y = float(axes.py(np.array([tick]))[0])
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">'
            f"{short_number(tick)}</text>"
        )
    return "".join(parts)


def _powers(low: float, high: float) -> list[float]:
    """Return the powers of ten within a range."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return [10.0**power for power in range(first, last + 1)]
