"""The chunk timeline: when each chunk was seen, thought and played, and what became of it.

Chunks go down a staircase of lanes. The marks live in a stretched inner SVG, so that zooming is a
change of its view box; a few lines of script redraw the axis.
"""

from __future__ import annotations

from html import escape

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.events import ArmModeChanged, SchedulerStateChanged
from dvla.runtime.ledger import ChunkLedger, ChunkRecord
from dvla.runtime.report.palette import (
    CLEARED,
    EXECUTED,
    INFERENCE,
    OVERRIDDEN,
    PENDING,
    STALE,
    STATES,
)
from dvla.runtime.report.svg import nice_ticks
from dvla.runtime.run_data import RunData

LANES = 8
LANE_PX, BAND_PX, AXIS_PX, LEFT_PX, WIDTH_PX = 22, 20, 26, 92, 1240
MAX_CHUNKS = 1500
FIRST_VIEW_S = 6.0

SHADED = frozenset({"underrun", "too_slow", "hold"})
"""States in which no action is in force: their time is shaded over all lanes."""

FATES = {
    "executed": EXECUTED,
    "stale": STALE,
    "overridden": OVERRIDDEN,
    "cleared": CLEARED,
    "pending": PENDING,
}


def chunk_timeline(data: RunData) -> str:
    """Return the timeline with its legend; a sentence where no chunk ever came."""
    ledger = ChunkLedger(data.manifest.chunk_size)
    for event in data.events:
        ledger.add(event)
    records = [record for record in ledger.records if record.arrived_ns is not None]
    if not records:
        return '<p class="empty">No chunk arrived in this run: there is nothing to show.</p>'
    start_ns = data.manifest.started_ns
    end_s = max((data.end_ns - start_ns) / NS_PER_S, 0.1)
    shown = records[:MAX_CHUNKS]
    period_s = data.manifest.control_period_s
    top_px = 2 * BAND_PX
    marks = [_bands(data, end_s)]
    for place, record in enumerate(shown):
        y = top_px + (place % LANES) * LANE_PX + 4
        marks.append(_chunk(record, y, start_ns, period_s))
    first_s = max(0.0, (shown[0].t_obs_ns - start_ns) / NS_PER_S - 0.1)
    view_s = min(FIRST_VIEW_S, max(end_s - first_s, 0.1))
    note = (
        f"<p class='hint'>The first {MAX_CHUNKS} of {len(records)} chunks are shown.</p>"
        if len(records) > MAX_CHUNKS
        else ""
    )
    return _frame("".join(marks), first_s, view_s, end_s) + _legend() + note


def _chunk(record: ChunkRecord, y: int, start_ns: int, period_s: float) -> str:
    """Return the marks of one chunk: its inference, then its actions by fate."""
    arrived_ns = record.arrived_ns or record.started_ns
    seen_s = (record.t_obs_ns - start_ns) / NS_PER_S
    started_s = (record.started_ns - start_ns) / NS_PER_S
    arrived_s = (arrived_ns - start_ns) / NS_PER_S
    tip = (
        f"chunk {record.sequence}: seen at {seen_s:.3f} s, inference "
        f"{1e3 * (arrived_s - started_s):.0f} ms, arrived at {arrived_s:.3f} s, "
        + (f"discarded: {record.reason}" if record.reason else f"{len(record.executed)} executed")
    )
    parts = [
        _rect(seen_s, max(arrived_s - seen_s, 0.002), y + 11, 4, colour=INFERENCE, tip=tip),
        _rect(seen_s, 0.004, y + 8, 10, colour=INFERENCE, tip=tip),
    ]
    tau_ns = record.tau_ns if record.tau_ns is not None else record.t_obs_ns
    executed = {index for index, _ in record.executed}
    for first, last, fate in _runs(record, executed):
        tip = f"chunk {record.sequence}, actions {first} to {last}: {fate}"
        at_s = (tau_ns - start_ns) / NS_PER_S + first * period_s
        width_s = (last - first + 1) * period_s
        parts.append(_rect(at_s, width_s, y, 8, colour=FATES.get(fate, STALE), tip=tip))
    return "".join(parts)


def _runs(record: ChunkRecord, executed: set[int]) -> list[tuple[int, int, str]]:
    """Return (first, last, fate) of neighbouring actions that share a fate."""
    runs: list[tuple[int, int, str]] = []
    for index in range(record.actions):
        fate = _fate(record, index, executed)
        if runs and runs[-1][2] == fate:
            runs[-1] = (runs[-1][0], index, fate)
        else:
            runs.append((index, index, fate))
    return runs


def _fate(record: ChunkRecord, index: int, executed: set[int]) -> str:
    if record.reason and record.reason != "stale":
        return "overridden"
    if index < record.first_action:
        return "stale"
    if index in executed:
        return "executed"
    if record.cleared:
        return "cleared"
    return "overridden" if record.closed else "pending"


def _bands(data: RunData, end_s: float) -> str:
    """Return the two bands on top: the scheduler's state and the arm's mode."""
    start_ns = data.manifest.started_ns
    states, modes = [], []
    for event in data.events:
        if isinstance(event, SchedulerStateChanged):
            states.append((event.t_ns, event.state, event.detail))
        elif isinstance(event, ArmModeChanged):
            modes.append((event.t_ns, event.mode, event.reason))
    parts = []
    for row, changes in enumerate((states, modes)):
        for place, (t_ns, name, why) in enumerate(changes):
            at_s = (t_ns - start_ns) / NS_PER_S
            until_s = end_s
            if place + 1 < len(changes):
                until_s = (changes[place + 1][0] - start_ns) / NS_PER_S
            tip = f"{name} from {at_s:.3f} to {until_s:.3f} s" + (f": {why}" if why else "")
            colour = STATES.get(name, STALE)
            width_s = max(until_s - at_s, 0.0)
            y = row * BAND_PX + 3
            parts.append(_rect(at_s, width_s, y, BAND_PX - 6, colour=colour, tip=tip))
            if row == 0 and name in SHADED:
                height = LANES * LANE_PX
                faint = f"{colour}40"
                parts.append(_rect(at_s, width_s, 2 * BAND_PX, height, colour=faint, tip=tip))
    return "".join(parts)


def _rect(x_s: float, width_s: float, y: int, height: int, *, colour: str, tip: str) -> str:
    return (
        f'<rect x="{x_s:.4f}" y="{y}" width="{width_s:.4f}" height="{height}" fill="{colour}">'
        f"<title>{escape(tip)}</title></rect>"
    )


def _frame(marks: str, first_s: float, view_s: float, end_s: float) -> str:
    """Return the outer drawing: names at the left, marks, axis and the zoom buttons."""
    inner_px = 2 * BAND_PX + LANES * LANE_PX + 4
    height_px = inner_px + AXIS_PX
    width_px = WIDTH_PX - LEFT_PX - 8
    axis = "".join(
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{inner_px}"/>'
        f'<text class="tick" x="{x:.1f}" y="{inner_px + 14}" text-anchor="middle">{t:g} s</text>'
        for t in nice_ticks(first_s, first_s + view_s, 10)
        for x in [LEFT_PX + (t - first_s) / view_s * width_px]
    )
    names = "".join(
        f'<text class="label" x="{LEFT_PX - 8}" y="{y}" text-anchor="end">{name}</text>'
        for name, y in (("scheduler", 14), ("arm", 34), ("chunks", 2 * BAND_PX + 16))
    )
    return (
        f'<div class="zoom"><button data-zoom="0.5">zoom in</button><button data-zoom="2">zoom out'
        f'</button><button data-pan="-0.5">◀</button><button data-pan="0.5">▶</button>'
        f'<button data-all="1">whole run</button><span class="hint">drag to move, wheel to zoom, '
        f"hover for details</span></div>"
        f'<svg class="plot timeline" viewBox="0 0 {WIDTH_PX} {height_px}" data-left="{LEFT_PX}" '
        f'data-width="{width_px}" data-inner="{inner_px}" data-end="{end_s:.4f}">'
        f'<g class="axis">{axis}</g>{names}'
        f'<svg class="marks" x="{LEFT_PX}" y="0" width="{width_px}" height="{inner_px}" '
        f'viewBox="{first_s:.4f} 0 {view_s:.4f} {inner_px}" preserveAspectRatio="none">'
        f"{marks}</svg></svg>"
    )


def _legend() -> str:
    entries = {
        "observed, then inference": INFERENCE,
        "executed": EXECUTED,
        "stale on arrival": STALE,
        "overridden by a newer observation": OVERRIDDEN,
        "cleared by a hold": CLEARED,
        "underrun": STATES["underrun"],
        "hold": STATES["hold"],
        "too slow": STATES["too_slow"],
    }
    return (
        '<p class="legend">'
        + "".join(
            f'<span><i style="background:{c}"></i>{escape(n)}</span>' for n, c in entries.items()
        )
        + "</p>"
    )
