"""Several runs side by side on one page: numbers, timelines, ages, seams, limits, faults, films."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.events import ArmModeChanged, ChunkMerged, CommandRejected, SchedulerStateChanged
from dvla.runtime.percentiles import Percentiles
from dvla.runtime.report.assets import SCRIPT, STYLE
from dvla.runtime.report.palette import CLEARED, COMMANDED, EXECUTED, OVERRIDDEN, REACHED
from dvla.runtime.report.svg import Axes, value_range
from dvla.runtime.report.timeline import chunk_timeline
from dvla.runtime.run_data import RunData
from dvla.runtime.summary import RunSummary
from dvla.runtime.summary_text import by_reason, share, verdict

COLOURS = (COMMANDED, REACHED, EXECUTED, CLEARED, OVERRIDDEN)
MAX_RUNS = len(COLOURS)
MAX_VIDEO_BYTES = 12 << 20
MAX_FAULTS = 30
Pair = tuple[RunData, RunSummary]
_COMPARE_STYLE = """
table.compare td.num{min-width:150px} table.compare tr.differs td{background:#fdf6e7}
.swatch{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:7px}
.films{display:grid;grid-template-columns:repeat(auto-fit,minmax(380px,1fr));gap:14px}
"""


def compare_html(runs: Sequence[Pair]) -> str:
    """Return one page on at most ``MAX_RUNS`` runs; it loads nothing from anywhere."""
    body = [
        f"<h1>{len(runs)} runs side by side</h1>",
        _section("Runs", _legend(runs)),
        _section("Numbers", _numbers(runs)),
        _section("What was set differently", _settings(runs)),
        _section("Ages and lateness", _two(_ages(runs), _lateness(runs))),
        _section("Seams and tracking", _two(_seams(runs), _tracking(runs))),
        _section("Chunk timelines", "".join(_named(run, chunk_timeline(run[0])) for run in runs)),
        _section("Limits and faults", "".join(_named(run, _faults(run[0])) for run in runs)),
        _section("Films", _films(runs)),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{len(runs)} runs</title><style>{STYLE}{_COMPARE_STYLE}</style></head><body><main>"
        f"{''.join(body)}<footer>Made by dvla-report from the files of these run folders.</footer>"
        f"</main><script>{SCRIPT}</script></body></html>"
    )


def _section(title: str, content: str) -> str:
    content = content or '<p class="empty">Nothing was recorded.</p>'
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _two(*parts: str) -> str:
    present = [f"<div>{part}</div>" for part in parts if part]
    return f'<div class="two">{"".join(present)}</div>' if present else ""


def _named(run: Pair, content: str) -> str:
    return f"<h3>{escape(run[1].folder)}</h3>{content}"


def _swatch(place: int) -> str:
    return f'<span class="swatch" style="background:{COLOURS[place]}"></span>'


def _legend(runs: Sequence[Pair]) -> str:
    rows = "".join(
        f"<tr><td>{_swatch(place)}<b>{escape(summary.folder)}</b></td>"
        f"<td>{escape(verdict(summary))}</td><td>{escape(summary.manifest.started)}</td>"
        f"<td>load {summary.manifest.machine.load_1m:.1f} on {summary.manifest.machine.cores} "
        "cores</td></tr>"
        for place, (_, summary) in enumerate(runs)
    )
    return f"<table>{rows}</table>"


def _spread(value: Percentiles | None, factor: float, unit: str) -> str:
    if value is None:
        return "–"
    p50, p95, p99, top = (factor * x for x in (value.p50, value.p95, value.p99, value.max))
    return f"{p50:.1f} · {p95:.1f} · {p99:.1f} · {top:.1f} {unit}"


def _predicted(summary: RunSummary) -> str:
    errors = summary.prediction
    return "–" if errors is None else _spread(errors.position_m, 1e3, "mm")


ROWS: tuple[tuple[str, Callable[[RunSummary], str]], ...] = (
    ("objects caught", lambda s: f"{s.caught} of {s.attempts}" if s.attempts else "–"),
    ("replan_hz", lambda s: f"{s.replan_hz:.2f}"),
    ("dispatch_hz", lambda s: f"{s.dispatch_hz:.1f}"),
    ("inference, p50 · p95 · p99 · max", lambda s: _spread(s.inference_s, 1e3, "ms")),
    ("observation age", lambda s: _spread(s.observation_age_s, 1e3, "ms")),
    ("servo lateness", lambda s: _spread(s.lateness_s, 1e3, "ms")),
    ("servo overruns", lambda s: f"{s.overruns} of {s.servo_ticks}"),
    ("chunks merged", lambda s: f"{s.merged} of {s.chunks}"),
    ("chunks discarded", lambda s: by_reason(s.discarded)),
    ("actions executed", lambda s: str(s.actions_executed)),
    ("actions stale", lambda s: str(s.actions_stale)),
    ("underruns", lambda s: str(s.underruns)),
    ("too slow", lambda s: str(s.too_slow)),
    ("seam jump", lambda s: _spread(s.seam_m, 1e3, "mm")),
    ("seam alarms", lambda s: str(s.seam_alarms)),
    ("saturated ticks", lambda s: share(s.saturated_share)),
    ("commands accepted", lambda s: share(s.acceptance_share)),
    ("commands rejected", lambda s: by_reason(s.rejected)),
    ("plans taken back", lambda s: str(s.taken_back)),
    ("arm stops", lambda s: str(s.arm_stops)),
    ("tracking error", lambda s: _spread(s.tracking_m, 1e3, "mm")),
    ("peak speed", lambda s: "–" if s.peak_speed_m_s is None else f"{s.peak_speed_m_s:.2f} m/s"),
    ("position error, replay", _predicted),
)  # fmt: skip


def _table(runs: Sequence[Pair], rows: Sequence[tuple[str, list[str]]]) -> str:
    head = "".join(f"<th>{_swatch(i)}{escape(s.folder)}</th>" for i, (_, s) in enumerate(runs))
    body = "".join(
        f'<tr><td class="key">{escape(name)}</td>'
        + "".join(f'<td class="num">{escape(value)}</td>' for value in values)
        + "</tr>"
        for name, values in rows
    )
    return f'<table class="compare"><tr><th></th>{head}</tr>{body}</table>'


def _numbers(runs: Sequence[Pair]) -> str:
    return _table(runs, [(name, [of(summary) for _, summary in runs]) for name, of in ROWS])


def _settings(runs: Sequence[Pair]) -> str:
    """Return the settings in which the runs differ."""
    names = sorted({name for data, _ in runs for name in data.config})
    rows = []
    for name in names:
        values = [str(data.config.get(name, "–")) for data, _ in runs]
        if len({value for value in values if value != "–"}) > 1:
            rows.append((name, values))
    return _table(runs, rows) if rows else '<p class="empty">Nothing: the same configuration.</p>'


def _distribution(
    runs: Sequence[Pair], title: str, label: str, of: Callable[[RunData], NDArray[np.float64]]
) -> str:
    """Draw the share of samples at or below each value, one curve per run."""
    samples = [np.sort(values[np.isfinite(values)]) for values in (of(data) for data, _ in runs)]
    if not any(len(values) for values in samples):
        return ""
    top = max(float(np.percentile(values, 99.5)) for values in samples if len(values))
    axes = Axes(
        title,
        x_label=label,
        y_label="at or below [%]",
        x_range=(0.0, max(top, 1e-6)),
        y_range=(0.0, 100.0),
    )
    for place, (values, (_, summary)) in enumerate(zip(samples, runs, strict=True)):
        if not len(values):
            continue
        at = np.linspace(0.0, top, 200)
        shares = 100 * np.searchsorted(values, at, side="right") / len(values)
        axes.line(at, shares, COLOURS[place], summary.folder)
    return axes.render()


def _ages(runs: Sequence[Pair]) -> str:
    def of(data: RunData) -> NDArray[np.float64]:
        seen = data.servo[data.servo["t_obs_ns"] > 0]
        return np.asarray((seen["t_ns"] - seen["t_obs_ns"]) / 1e6, np.float64)

    return _distribution(runs, "Observation age at dispatch", "age [ms]", of)


def _lateness(runs: Sequence[Pair]) -> str:
    def of(data: RunData) -> NDArray[np.float64]:
        return np.asarray(data.servo["lateness_ns"] / 1e6, np.float64)

    return _distribution(runs, "Servo lateness", "lateness [ms]", of)


def _tracking(runs: Sequence[Pair]) -> str:
    def of(data: RunData) -> NDArray[np.float64]:
        return np.asarray(1e3 * data.arm["tracking_m"], np.float64)

    return _distribution(runs, "Tracking error", "distance [mm]", of)


def _seams(runs: Sequence[Pair]) -> str:
    points = []
    for data, _ in runs:
        merged = [e for e in data.events if isinstance(e, ChunkMerged) and e.seam_m > 0]
        t_s = np.array([(e.t_ns - data.manifest.started_ns) / NS_PER_S for e in merged])
        points.append((t_s, 1e3 * np.array([e.seam_m for e in merged])))
    if not any(len(t_s) for t_s, _ in points):
        return ""
    axes = Axes(
        "Seam jumps",
        x_label="time [s]",
        y_label="jump [mm]",
        x_range=(0.0, max(float(t_s.max()) for t_s, _ in points if len(t_s))),
        y_range=value_range(*(mm for _, mm in points if len(mm)), floor=0.0),
    )
    for place, (t_s, mm) in enumerate(points):
        axes.dots(t_s, mm, COLOURS[place], runs[place][1].folder)
    return axes.render()


def _faults(data: RunData) -> str:
    """Return what stopped or refused: rejections, stops, holds, faults."""
    rows = []
    for event in data.events:
        match event:
            case CommandRejected():
                told = f"rejected {event.sequence}: {event.reason} {event.detail}"
            case ArmModeChanged() if event.mode in ("stopping", "fault", "hold"):
                told = f"arm {event.mode}: {event.reason}"
            case SchedulerStateChanged() if event.state in ("too_slow", "underrun", "hold"):
                told = f"scheduler {event.state.replace('_', ' ')} {event.detail}"
            case _:
                continue
        at_s = (event.t_ns - data.manifest.started_ns) / NS_PER_S
        rows.append(f'<tr><td class="num">{at_s:.3f} s</td><td>{escape(told)}</td></tr>')
    more = len(rows) - MAX_FAULTS
    hint = f'<p class="hint">{more} more are in events.jsonl.</p>' if more > 0 else ""
    return f"<table>{''.join(rows[:MAX_FAULTS])}</table>{hint}" if rows else "<p>None.</p>"


def _films(runs: Sequence[Pair]) -> str:
    cells = []
    for data, summary in runs:
        if data.video is None:
            content = '<p class="empty">No film.</p>'
        elif data.video.stat().st_size > MAX_VIDEO_BYTES:
            content = f'<p class="empty">The film is long: {escape(str(data.video))}</p>'
        else:
            film = base64.b64encode(data.video.read_bytes()).decode()
            content = (
                '<video controls muted loop playsinline preload="auto" '
                f'src="data:video/mp4;base64,{film}"></video>'
            )
        cells.append(f"<div><h3>{escape(summary.folder)}</h3>{content}</div>")
    return f'<div class="films">{"".join(cells)}</div>'
