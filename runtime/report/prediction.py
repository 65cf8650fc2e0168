"""The report's section on a replay: predicted against recorded actions."""

from __future__ import annotations

import numpy as np

from dvla.runtime.percentiles import Percentiles
from dvla.runtime.prediction import PredictionErrors, chunk_errors
from dvla.runtime.report.palette import ALARM, COMMANDED, NEUTRAL, REACHED
from dvla.runtime.report.svg import Axes, value_range
from dvla.runtime.run_data import RunData

BINS = 40
DEGREES = 57.29577951308232


def prediction_section(data: RunData, errors: PredictionErrors) -> str:
    """Return plots and a table of the errors; empty when no chunk was compared."""
    invalid = f"{errors.invalid} chunks held actions that are no numbers."
    if not errors.chunks:
        said = invalid if errors.invalid else "No chunk arrived during the episode."
        return f'<p class="empty">{said}</p>'
    share = "–" if errors.gripper_share is None else f"{100 * errors.gripper_share:.1f} %"
    told = (
        f'<p class="meta">{errors.chunks} chunks against the recorded actions of the same moments. '
        f"Position {_spread(errors.position_m, 1e3, 'mm')}; rotation "
        f"{_spread(errors.rotation_rad, DEGREES, 'deg')}; gripper on the recorded side in {share}. "
        f"Standing still would be wrong by {_spread(errors.standing_m, 1e3, 'mm')}."
        f"{' ' + invalid if errors.invalid else ''}</p>"
    )
    parts = (
        _horizon(errors, "position_m", 1e3, "Position error over the horizon", "error [mm]"),
        _histogram(data, "position_m", 1e3, "All position errors", "error [mm]"),
        _horizon(errors, "rotation_rad", DEGREES, "Rotation error over the horizon", "error [deg]"),
        _histogram(data, "rotation_rad", DEGREES, "All rotation errors", "error [deg]"),
        _gripper(errors),
        _over_time(data),
    )
    cells = "".join(f"<div>{part}</div>" for part in parts if part)
    return f'{told}<div class="two">{cells}</div>'


def _spread(value: Percentiles | None, factor: float, unit: str) -> str:
    if value is None:
        return "–"
    p50, p95, top = (factor * each for each in (value.p50, value.p95, value.max))
    return f"p50 {p50:.1f}, p95 {p95:.1f}, max {top:.1f} {unit}"


def _horizon(errors: PredictionErrors, name: str, factor: float, title: str, label: str) -> str:
    steps = [step for step in errors.steps if getattr(step, name) is not None]
    index = np.array([step.index for step in steps], np.float64)
    lines = {
        part: factor * np.array([getattr(getattr(step, name), part) for step in steps])
        for part in ("p50", "p95", "max")
    }
    axes = Axes(
        title,
        x_label="step of the horizon",
        y_label=label,
        x_range=(0.0, float(max(1.0, index[-1]))),
        y_range=value_range(*lines.values(), floor=0.0),
    )
    for part, colour in (("p50", COMMANDED), ("p95", REACHED), ("max", ALARM)):
        axes.curve(index, lines[part], colour, part)
    return axes.render()


def _histogram(data: RunData, name: str, factor: float, title: str, label: str) -> str:
    every = np.concatenate([getattr(chunk, name) for chunk in chunk_errors(data)])
    known = factor * every[~np.isnan(every)]
    if not len(known):
        return ""
    top = max(float(known.max()), 1e-6)
    counts, edges = np.histogram(known, BINS, range=(0.0, top))
    shares = 100 * counts / len(known)
    axes = Axes(
        title,
        x_label=label,
        y_label="actions [%]",
        x_range=(0.0, top),
        y_range=value_range(shares, floor=0.0),
    )
    for share, low, high in zip(shares, edges[:-1], edges[1:], strict=True):
        tip = f"{low:.2f} to {high:.2f}: {share:.1f} %"
        axes.bar(float(low), float(high), float(share), NEUTRAL, tip)
    return axes.render()


def _gripper(errors: PredictionErrors) -> str:
    steps = [step for step in errors.steps if step.gripper_share is not None]
    index = np.array([step.index for step in steps], np.float64)
    share = 100 * np.array([step.gripper_share for step in steps], np.float64)
    axes = Axes(
        "Gripper on the recorded side",
        x_label="step of the horizon",
        y_label="chunks [%]",
        x_range=(0.0, float(max(1.0, index[-1]))),
        y_range=(0.0, 100.0),
    )
    axes.curve(index, share, COMMANDED)
    return axes.render()


def _over_time(data: RunData) -> str:
    """Draw each chunk's mean position error at the moment of its observation."""
    chunks = chunk_errors(data)
    t_s = np.array([chunk.t_s for chunk in chunks])
    mean_mm = 1e3 * np.array([np.nanmean(chunk.position_m) for chunk in chunks])
    axes = Axes(
        "Mean position error of each chunk",
        x_label="time of the observation in the episode [s]",
        y_label="error [mm]",
        x_range=(0.0, float(max(t_s[-1], 1e-3))),
        y_range=value_range(mean_mm, floor=0.0),
    )
    axes.dots(t_s, mean_mm, COMMANDED)
    return axes.render()
