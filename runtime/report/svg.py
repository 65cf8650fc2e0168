"""A small plot: lines, bars and bands on labelled axes, as inline SVG without dependencies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_POINTS = 1200
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 26, 38


def nice_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return round numbers from ``low`` to ``high``, about ``count`` of them."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    step = 10 ** math.floor(math.log10(span / count))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= count)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def decimate(
    x: NDArray[np.float64], y: NDArray[np.float64], limit: int = MAX_POINTS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Thin a curve out to its extremes per stretch, so that no peak is lost."""
    if len(x) <= limit:
        return x, y
    edges = np.linspace(0, len(x), limit // 2 + 1).astype(int)
    kept: list[int] = []
    for first, last in pairwise(edges):
        part = y[first:last]
        if np.isfinite(part).any():
            kept += sorted({first + int(np.nanargmin(part)), first + int(np.nanargmax(part))})
        else:
            kept.append(int(first))
    return x[kept], y[kept]


class Axes:
    """A plot that is filled with marks and then rendered once.

    Args:
        title: said above the plot.
        x_label / y_label: with units.
        x_range / y_range: what the axes span.
        size: width and height [px].
        equal: one unit is as long on both axes.
        mirrored: x rises to the left.
    """

    def __init__(
        self,
        title: str,
        *,
        x_label: str,
        y_label: str,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        size: tuple[int, int] = (640, 230),
        equal: bool = False,
        mirrored: bool = False,
    ) -> None:
        self._title, self._x_label, self._y_label = title, x_label, y_label
        self._width, self._height = size
        self._x, self._y = _widened(x_range), _widened(y_range)
        if equal:
            self._make_equal()
        self._mirrored = mirrored
        self._marks: list[str] = []
        self._legend: list[tuple[str, str]] = []

    def line(self, x: ArrayLike, y: ArrayLike, colour: str, label: str = "") -> None:
        """Draw a curve through (n,) points; it breaks where a value is not finite."""
        xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
        path: list[str] = []
        pen_up = True
        for px, py in zip(self.px(xs), self.py(ys), strict=True):
            if not (math.isfinite(px) and math.isfinite(py)):
                pen_up = True
                continue
            path.append(f"{'M' if pen_up else 'L'}{px:.1f} {py:.1f}")
            pen_up = False
        self._marks.append(
            f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.4" '
            'stroke-linejoin="round"/>'
        )
        if label:
            self._legend.append((label, colour))

    def curve(self, x: ArrayLike, y: ArrayLike, colour: str, label: str = "") -> None:
        """Draw a curve over a rising x, thinned out where it is long."""
        self.line(*decimate(np.asarray(x, np.float64), np.asarray(y, np.float64)), colour, label)

    def dots(
        self, x: ArrayLike, y: ArrayLike, colour: str, label: str = "", r: float = 2.2
    ) -> None:
        """Draw points (n,)."""
        points = zip(self.px(np.asarray(x, np.float64)), self.py(np.asarray(y, float)), strict=True)
        self._marks += [
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="{r}" fill="{colour}"/>'
            for px, py in points
            if math.isfinite(px) and math.isfinite(py)
        ]
        if label:
            self._legend.append((label, colour))

    def bar(self, x0: float, x1: float, y: float, colour: str, tip: str) -> None:
        """Draw a bar from the bottom to ``y``."""
        left, right = self.px(np.array([x0, x1]))
        top, bottom = float(self.py(np.array([y]))[0]), self._height - BOTTOM
        self._marks.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 0.6, 0.5):.1f}" '
            f'height="{max(bottom - top, 0):.1f}" fill="{colour}">'
            f"<title>{escape(tip)}</title></rect>"
        )

    def px(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pixels of x values."""
        low, high = reversed(self._x) if self._mirrored else self._x
        return LEFT + (x - low) / (high - low) * (self._width - LEFT - RIGHT)

    def py(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pixels of y values."""
        low, high = self._y
        return self._height - BOTTOM - (y - low) / (high - low) * (self._height - TOP - BOTTOM)

    def render(self) -> str:
        """Return the plot as an ``<svg>`` element."""
        w, h, title = self._width, self._height, escape(self._title)
        middle = (TOP + h - BOTTOM) / 2
        return (
            f'<svg class="plot" viewBox="0 0 {w} {h}" role="img" aria-label="{title}">'
            f'<text class="title" x="{LEFT}" y="15">{title}</text>'
            f"{self._grid()}{''.join(self._marks)}{self._legend_svg()}"
            f'<text class="label" x="{(LEFT + w - RIGHT) / 2:.0f}" y="{h - 6}" '
            f'text-anchor="middle">{escape(self._x_label)}</text>'
            f'<text class="label" transform="translate(13 {middle:.0f}) rotate(-90)" '
            f'text-anchor="middle">{escape(self._y_label)}</text></svg>'
        )

    def _grid(self) -> str:
        right, bottom = self._width - RIGHT, self._height - BOTTOM
        parts = []
        x_ticks = nice_ticks(*self._x, count=max(3, self._width // 90))
        for tick, x in zip(x_ticks, self.px(np.array(x_ticks)), strict=True):
            parts.append(
                f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>'
                f'<text class="tick" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">'
                f"{tick:g}</text>"
            )
        y_ticks = nice_ticks(*self._y, count=max(3, self._height // 45))
        for tick, y in zip(y_ticks, self.py(np.array(y_ticks)), strict=True):
            parts.append(
                f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">'
                f"{tick:g}</text>"
            )
        return "".join(parts)

    def _legend_svg(self) -> str:
        parts, x = [], float(self._width - RIGHT)
        for label, colour in reversed(self._legend):
            x -= 6.8 * len(label) + 24
            parts.append(
                f'<rect x="{x:.0f}" y="8" width="10" height="4" rx="2" fill="{colour}"/>'
                f'<text class="tick" x="{x + 14:.0f}" y="14">{escape(label)}</text>'
            )
        return "".join(parts)

    def _make_equal(self) -> None:
        """Widen the axis that has more room, so that one unit is as long on both."""
        x_scale = (self._x[1] - self._x[0]) / (self._width - LEFT - RIGHT)
        y_scale = (self._y[1] - self._y[0]) / (self._height - TOP - BOTTOM)
        scale = max(x_scale, y_scale)
        self._x = _around(self._x, scale * (self._width - LEFT - RIGHT))
        self._y = _around(self._y, scale * (self._height - TOP - BOTTOM))


def value_range(
    *values: ArrayLike, floor: float | None = None, min_span: float = 1e-2
) -> tuple[float, float]:
    """Return the range of all finite values with a margin.

    Args:
        values: arrays in one unit.
        floor: where the range begins, if not below the least value.
        min_span: what it spans at least, so that noise about a constant does not fill a plot.
    """
    joined = np.concatenate([np.asarray(v, np.float64).ravel() for v in values] or [np.zeros(0)])
    joined = joined[np.isfinite(joined)]
    if not len(joined):
        return (0.0, 1.0)
    low, high = float(joined.min()), float(joined.max())
    if floor is not None:
        return floor, floor + max(1.06 * (high - floor), min_span)
    margin = max(0.06 * (high - low), (min_span - (high - low)) / 2)
    return low - margin, high + margin


def _widened(bounds: Sequence[float]) -> tuple[float, float]:
    """Return the bounds, apart from each other where they coincide."""
    low, high = bounds
    if high - low > 1e-12:
        return low, high
    return low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)


def _around(bounds: tuple[float, float], span: float) -> tuple[float, float]:
    middle = (bounds[0] + bounds[1]) / 2
    return middle - span / 2, middle + span / 2
