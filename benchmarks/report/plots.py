"""The plots of a benchmark's page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dvla.benchmarks.report.axes import BarAxes, LogAxes, decades
from dvla.benchmarks.report.roofline import PartFloor, part_floors, peak_flops
from dvla.benchmarks.report.schema import (
    END_TO_END,
    PARTS,
    VISION,
    VISION_PREFIX,
    Device,
    LatencyResult,
    ServoResult,
    StreamResult,
)
from dvla.runtime.report.palette import ALARM, COMMANDED, EXECUTED, NEUTRAL, OVERRIDDEN, REACHED
from dvla.runtime.report.svg import Axes, value_range

COLOURS = (COMMANDED, REACHED, EXECUTED, OVERRIDDEN, NEUTRAL)
FLOOR = "#1b2430"


def colour_of(index: int) -> str:
    """Return the colour of the subject at an index."""
    return COLOURS[index % len(COLOURS)]


def roofline(result: LatencyResult, device: Device) -> str:
    """Draw every part under the roof of this device, on logarithmic axes."""
    floors = list(_finest(part_floors(result, device)))
    if not floors:
        return ""
    roofs = {s.precision: peak_flops(device, s.precision) for s in result.subjects}
    ridge = max(roofs.values()) / device.bandwidth_bytes_per_s
    intensities = [floor.flops_per_byte for floor in floors]
    x_range = decades(min(*intensities, ridge) / 2, max(*intensities, ridge) * 2)
    y_values = [floor.flops_per_s for floor in floors]
    y_range = decades(min(y_values) / 2, max(*y_values, *roofs.values()) * 1.2)
    axes = LogAxes(
        "Roofline: the weights' traffic against arithmetic",
        x_label="operations per byte of weights read",
        y_label="operations per second",
        x_range=x_range,
        y_range=y_range,
        size=(640, 380),
    )
    for precision, roof in roofs.items():
        corner = roof / device.bandwidth_bytes_per_s
        start = max(x_range[0], y_range[0] / device.bandwidth_bytes_per_s)
        x = [start, corner, x_range[1]]
        axes.line(x, [start * device.bandwidth_bytes_per_s, roof, roof], FLOOR)
        axes.note(x_range[1], roof * 1.25, f"{precision} {roof / 1e9:.0f} GFLOP/s", FLOOR, "end")
    for index, subject in enumerate(result.subjects):
        own = [floor for floor in floors if floor.subject == subject.name]
        axes.dots(
            [floor.flops_per_byte for floor in own],
            [floor.flops_per_s for floor in own],
            colour_of(index),
            subject.name,
            r=5,
        )
        for floor in own:
            left = floor.flops_per_byte > (x_range[0] * x_range[1]) ** 0.5
            anchor = "end" if left else "start"
            axes.note(floor.flops_per_byte, floor.flops_per_s, floor.part, colour_of(index), anchor)
    return axes.render()


def _finest(floors: Sequence[PartFloor]) -> Iterator[PartFloor]:
    """Yield the floors of parts that are not made of others that were timed too."""
    split = {floor.subject for floor in floors if floor.part == VISION}
    for floor in floors:
        joined = floor.part == VISION_PREFIX and floor.subject in split
        if floor.part != END_TO_END and not joined:
            yield floor


def part_bars(result: LatencyResult, device: Device | None) -> str:
    """Draw the median of every part, with the floor of this device as a line across the bar."""
    parts = [part for part in PARTS if any(part in s.timings for s in result.subjects)]
    floors = {(f.subject, f.part): f.floor_s for f in part_floors(result, device)} if device else {}
    medians_ms = [1e3 * t.spread_s.p50 for s in result.subjects for t in s.timings.values()]
    lowest = min([*medians_ms, *(1e3 * floor for floor in floors.values())])
    axes = BarAxes(
        "Median per part; the black line is this device's floor",
        y_label="duration [ms]",
        y_range=decades(lowest, max(medians_ms)),
        groups=parts,
        size=(640, 380),
    )
    for index, subject in enumerate(result.subjects):
        axes.key(subject.name, colour_of(index))
        for group, part in enumerate(parts):
            if part not in subject.timings:
                continue
            slot = (index, len(result.subjects))
            spread = subject.timings[part].spread_s
            tip = f"{subject.name}, {part}: p50 {1e3 * spread.p50:.2f} ms"
            axes.group_bar(group, slot, 1e3 * spread.p50, colour_of(index), tip)
            if (subject.name, part) in floors:
                axes.group_mark(group, slot, 1e3 * floors[subject.name, part], FLOOR)
    return axes.render()


def rounds_plot(result: LatencyResult) -> str:
    """Draw the end-to-end latency of every round, so that drift and outliers are seen."""
    series = [np.array(s.timings[END_TO_END].samples_s) * 1e3 for s in result.subjects]
    axes = Axes(
        "End to end, round by round",
        x_label="round",
        y_label="latency [ms]",
        x_range=(1.0, float(max(2, result.rounds))),
        y_range=value_range(*series, floor=0.0),
        size=(640, 260),
    )
    for index, (subject, values_ms) in enumerate(zip(result.subjects, series, strict=True)):
        axes.curve(1 + np.arange(len(values_ms)), values_ms, colour_of(index), subject.name)
        axes.dots(1 + np.arange(len(values_ms)), values_ms, colour_of(index))
    return axes.render()


def distribution(result: LatencyResult) -> str:
    """Draw which share of the rounds was done within a latency."""
    series = [np.sort(s.timings[END_TO_END].samples_s) * 1e3 for s in result.subjects]
    axes = Axes(
        "End to end, share of rounds within a latency",
        x_label="latency [ms]",
        y_label="share [%]",
        x_range=value_range(*series, floor=0.0),
        y_range=(0.0, 104.0),
        size=(640, 260),
    )
    for index, (subject, values_ms) in enumerate(zip(result.subjects, series, strict=True)):
        share = 100 * np.arange(1, len(values_ms) + 1) / len(values_ms)
        x, y = np.repeat(values_ms, 2), np.concatenate([[0.0], np.repeat(share, 2)[:-1]])
        axes.line(x, y, colour_of(index), subject.name)
    return axes.render()


def servo_bars(result: ServoResult) -> str:
    """Draw p50, p99 and maximum of waking, loop beside loop."""
    cells = list(dict.fromkeys((loop.rate_hz, loop.load) for loop in result.loops))
    names = list(dict.fromkeys(loop.loop for loop in result.loops))
    values = [v for loop in result.loops for v in (loop.wake_us.p50, loop.wake_us.max)]
    axes = BarAxes(
        "Waking after the deadline: p99 as bar, p50 and maximum as lines",
        y_label="lateness [us]",
        y_range=decades(max(min(values), 0.1), max(values)),
        groups=[f"{rate} Hz, {load}" for rate, load in cells],
        size=(1240, 280),
    )
    for index, name in enumerate(names):
        axes.key(name, colour_of(index))
    for loop in result.loops:
        index, group = names.index(loop.loop), cells.index((loop.rate_hz, loop.load))
        slot, wake = (index, len(names)), loop.wake_us
        tip = f"{loop.loop}: p50 {wake.p50:.1f}, p99 {wake.p99:.1f}, max {wake.max:.1f} us"
        axes.group_bar(group, slot, wake.p99, colour_of(index), tip)
        axes.group_mark(group, slot, wake.p50, FLOOR)
        axes.group_mark(group, slot, wake.max, ALARM)
    return axes.render()


def stream_bars(result: StreamResult) -> str:
    """Draw what a call costs, channel beside channel."""
    operations = list(dict.fromkeys(cost.operation for cost in result.costs))
    channels = list(dict.fromkeys(cost.channel for cost in result.costs))
    values = [cost.spread_us.p50 for cost in result.costs]
    axes = BarAxes(
        "One call, median",
        y_label="duration [us]",
        y_range=decades(min(values) / 2, max(values)),
        groups=operations,
        size=(640, 260),
    )
    for index, channel in enumerate(channels):
        axes.key(channel, colour_of(index))
    for cost in result.costs:
        index = channels.index(cost.channel)
        tip = f"{cost.channel}, {cost.operation}: p50 {cost.spread_us.p50:.2f} us"
        slot = (index, len(channels))
        group = operations.index(cost.operation)
        axes.group_bar(group, slot, cost.spread_us.p50, colour_of(index), tip)
    return axes.render()
