"""The plots of the report, from a run's arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.arm_samples import ARM_MODES
from dvla.runtime.clock import NS_PER_S
from dvla.runtime.events import ChunkMerged
from dvla.runtime.report.palette import ALARM, COMMANDED, EXECUTED, NEUTRAL, REACHED
from dvla.runtime.report.svg import Axes, value_range
from dvla.runtime.run_data import RunData

WIDE = (1240, 210)
MAX_PATH_POINTS = 3000
HISTOGRAM_BINS = 48


def seconds(data: RunData, t_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return times (n,) [s] since the start of the run."""
    return np.asarray((t_ns - data.manifest.started_ns) / NS_PER_S, np.float64)


def top_view(data: RunData) -> str:
    """Draw the path from above: commanded and reached."""
    if not len(data.arm):
        return ""
    every = max(1, len(data.arm) // MAX_PATH_POINTS)
    commanded, reached = data.arm["commanded"][::every], data.arm["measured"][::every]
    axes = Axes(
        "Path from above, the robot at the bottom",
        x_label="y [m]",
        y_label="x [m]",
        x_range=value_range(commanded[:, 1], reached[:, 1]),
        y_range=value_range(commanded[:, 0], reached[:, 0]),
        size=(610, 430),
        equal=True,
        mirrored=True,
    )
    axes.line(commanded[:, 1], commanded[:, 0], COMMANDED, "commanded")
    axes.line(reached[:, 1], reached[:, 0], REACHED, "reached")
    axes.dots(reached[:1, 1], reached[:1, 0], EXECUTED, "start", r=4.5)
    return axes.render()


def position(data: RunData) -> str:
    """Draw x, y and z over time: commanded and reached."""
    if not len(data.arm):
        return ""
    t_s = seconds(data, data.arm["t_ns"])
    plots = []
    for axis, name in enumerate("xyz"):
        commanded, reached = data.arm["commanded"][:, axis], data.arm["measured"][:, axis]
        axes = Axes(
            f"Position {name}",
            x_label="time [s]",
            y_label=f"{name} [m]",
            x_range=(0.0, float(t_s[-1])),
            y_range=value_range(commanded, reached, min_span=0.02),
            size=WIDE,
        )
        axes.curve(t_s, commanded, COMMANDED, "commanded")
        axes.curve(t_s, reached, REACHED, "reached")
        plots.append(axes.render())
    return "".join(plots)


def speed(data: RunData) -> str:
    """Draw how fast the tool moved."""
    if not len(data.arm):
        return ""
    t_s = seconds(data, data.arm["t_ns"])
    metres_per_s = np.linalg.norm(data.arm["twist"][:, :3], axis=1)
    axes = Axes(
        "Speed of the tool",
        x_label="time [s]",
        y_label="speed [m/s]",
        x_range=(0.0, float(t_s[-1])),
        y_range=value_range(metres_per_s, floor=0.0),
        size=(610, 220),
    )
    axes.curve(t_s, metres_per_s, REACHED)
    return axes.render()


def tracking(data: RunData) -> str:
    """Draw the distance from commanded to reached while the arm follows."""
    following = data.arm["mode"] == ARM_MODES.index("follow")
    if data.manifest.shadow or not following.any():
        return ""
    error_mm = np.where(following, data.arm["tracking_m"] * 1e3, np.nan)
    t_s = seconds(data, data.arm["t_ns"])
    axes = Axes(
        "Tracking error while following",
        x_label="time [s]",
        y_label="error [mm]",
        x_range=(0.0, float(t_s[-1])),
        y_range=value_range(error_mm, floor=0.0, min_span=1.0),
    )
    axes.curve(t_s, error_mm, REACHED)
    return axes.render()


def observation_age(data: RunData) -> str:
    """Draw how old the observation behind each command was."""
    ticks = data.servo
    if not (ticks["t_obs_ns"] > 0).any():
        return ""
    age_ms = np.where(ticks["t_obs_ns"] > 0, (ticks["t_ns"] - ticks["t_obs_ns"]) / 1e6, np.nan)
    t_s = seconds(data, ticks["t_ns"])
    axes = Axes(
        "Observation age at dispatch",
        x_label="time [s]",
        y_label="age [ms]",
        x_range=(0.0, float(t_s[-1])),
        y_range=value_range(age_ms, floor=0.0),
    )
    axes.curve(t_s, age_ms, COMMANDED)
    return axes.render()


def lateness(data: RunData) -> str:
    """Draw the distribution of the servo's lateness; the last bar holds the tail."""
    if not len(data.servo):
        return ""
    late_ms = data.servo["lateness_ns"] / 1e6
    top = max(float(np.percentile(late_ms, 99.5)), 1e-3)
    counts, edges = np.histogram(np.clip(late_ms, 0.0, top), HISTOGRAM_BINS, range=(0.0, top))
    shares = 100 * counts / len(late_ms)
    axes = Axes(
        f"Servo lateness  (max {late_ms.max():.2f} ms; last bar: {top:.2f} ms and more)",
        x_label="lateness [ms]",
        y_label="ticks [%]",
        x_range=(0.0, top),
        y_range=value_range(shares, floor=0.0),
    )
    for share, low, high in zip(shares, edges[:-1], edges[1:], strict=True):
        tip = f"{low:.3f} to {high:.3f} ms: {share:.2f} %"
        axes.bar(float(low), float(high), float(share), NEUTRAL, tip)
    return axes.render()


def seams(data: RunData) -> str:
    """Draw the step across each seam against the largest step inside its chunk."""
    merged = [event for event in data.events if isinstance(event, ChunkMerged)]
    merged = [event for event in merged if event.seam_m > 0 or event.seam_rad > 0]
    if not merged:
        return ""
    t_s = seconds(data, np.array([event.t_ns for event in merged]))
    seam_mm = np.array([event.seam_m for event in merged]) * 1e3
    inside_mm = np.array([event.in_chunk_m for event in merged]) * 1e3
    alarm = np.array([event.seam_alarm for event in merged])
    axes = Axes(
        "Seam jumps",
        x_label="time [s]",
        y_label="step [mm]",
        x_range=(0.0, float(t_s[-1])),
        y_range=value_range(seam_mm, inside_mm, floor=0.0),
    )
    axes.curve(t_s, inside_mm, NEUTRAL, "largest in-chunk step")
    axes.dots(t_s[~alarm], seam_mm[~alarm], COMMANDED, "seam")
    if alarm.any():
        axes.dots(t_s[alarm], seam_mm[alarm], ALARM, "alarm", r=3.5)
    return axes.render()
