"""The page: the run's verdict, its numbers, its timeline, its plots, its film and its words."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from html import escape
from pathlib import Path

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.events import (
    ArmModeChanged,
    CommandRejected,
    EpisodeEnded,
    EpisodeStarted,
    Note,
    SchedulerStateChanged,
)
from dvla.runtime.percentiles import Percentiles
from dvla.runtime.report import plots
from dvla.runtime.report.assets import SCRIPT, STYLE
from dvla.runtime.report.prediction import prediction_section
from dvla.runtime.report.timeline import chunk_timeline
from dvla.runtime.run_data import Event, RunData
from dvla.runtime.summary import RunSummary
from dvla.runtime.summary_text import sections, share, verdict

MAX_VIDEO_BYTES = 24 << 20
MAX_EVENTS = 120


def report_html(data: RunData, summary: RunSummary) -> str:
    """Return the page of a run; it loads nothing from anywhere."""
    path = _two(plots.top_view(data), _video(data) + plots.speed(data))
    timing = _two(
        plots.tracking(data), plots.observation_age(data), plots.lateness(data), plots.seams(data)
    )
    body = [
        _header(summary),
        _cards(summary),
        _problems(summary),
        _prediction(data, summary),
        _section("Chunk timeline", chunk_timeline(data)),
        _section("Motion: commanded and reached", path + plots.position(data)),
        _section("Timing and tracking", timing),
        _section("Events of note", _events(data)),
        _section("All numbers", _numbers(summary)),
        _section("Configuration and machine", _context(data)),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(summary.folder)}</title><style>{STYLE}</style></head><body><main>"
        f"{''.join(body)}<footer>Made by dvla {escape(summary.manifest.version)} from the files of "
        f"this run folder; dvla-report rebuilds it.</footer></main><script>{SCRIPT}</script>"
        "</body></html>"
    )


def _prediction(data: RunData, summary: RunSummary) -> str:
    """Return what a replay is about; nothing for any other run."""
    if summary.prediction is None:
        return ""
    return _section("Predicted and recorded", prediction_section(data, summary.prediction))


def _header(summary: RunSummary) -> str:
    manifest = summary.manifest
    facts = {
        "robot": manifest.robot + (" (twin)" if manifest.sim else ""),
        "policy": Path(manifest.policy).name,
        "task": manifest.task or "the twin's own",
        "started": manifest.started,
        "machine": f"{manifest.machine.cpu}, {manifest.machine.cores} cores",
    }
    told = " · ".join(f"{name} <b>{escape(value)}</b>" for name, value in facts.items())
    return f'<h1>{escape(verdict(summary))}</h1><p class="meta">{told}</p>'


def _cards(summary: RunSummary) -> str:
    """Return the key numbers."""
    s = summary
    cards = [
        ("replan_hz", f"{s.replan_hz:.2f}", "chunks/s", f"{s.merged} of {s.chunks} merged"),
        ("action_hz", f"{s.action_hz:.1f}", "actions/s", f"H = {s.manifest.chunk_size}"),
        ("dispatch_hz", f"{s.dispatch_hz:.1f}", "commands/s", f"{s.commands_sent} sent"),
        _milliseconds("inference", s.inference_s),
        _milliseconds("observation age", s.observation_age_s),
        _milliseconds("servo lateness", s.lateness_s, 2),
        ("accepted", share(s.acceptance_share), "", f"{s.accepted} commands"),
        ("underruns", str(s.underruns), "", f"{s.actions_stale} actions stale"),
        _millimetres("tracking error", s.tracking_m),
        _millimetres("seam jump", s.seam_m),
    ]
    if s.attempts:
        cards.insert(0, ("caught", f"{s.caught} of {s.attempts}", "objects", ""))
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><div class="name">{escape(name)}</div><div class="value">'
            f'{escape(value)} <span class="unit">{escape(unit)}</span></div>'
            f'<div class="more">{escape(more) or "&nbsp;"}</div></div>'
            for name, value, unit, more in cards
        )
        + "</div>"
    )


def _milliseconds(name: str, value: Percentiles | None, digits: int = 0) -> tuple[str, ...]:
    return _spread(name, value, "ms", digits)


def _millimetres(name: str, value: Percentiles | None) -> tuple[str, ...]:
    return _spread(name, value, "mm", 1)


def _spread(name: str, value: Percentiles | None, unit: str, digits: int) -> tuple[str, ...]:
    if value is None:
        return (name, "–", "", "nothing measured")
    more = f"p95 {1e3 * value.p95:.{digits}f} · max {1e3 * value.max:.{digits}f}"
    return (name, f"{1e3 * value.p50:.{digits}f}", f"{unit} p50", more)


def _problems(summary: RunSummary) -> str:
    if not summary.problems:
        return (
            '<section class="fine">Nothing of note: every check of this run is in order.</section>'
        )
    items = "".join(f"<li>{escape(problem)}</li>" for problem in summary.problems)
    return f'<section class="problems"><h2>What to know</h2><ul>{items}</ul></section>'


def _section(title: str, content: str) -> str:
    content = content or '<p class="empty">Nothing was recorded.</p>'
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _two(*parts: str) -> str:
    """Return the parts that exist, two in a row."""
    present = [f"<div>{part}</div>" for part in parts if part]
    return f'<div class="two">{"".join(present)}</div>' if present else ""


def _video(data: RunData) -> str:
    """Return the film, inside the page while it is short enough."""
    if data.video is None:
        return '<p class="empty">No video was recorded in this run.</p>'
    if data.video.stat().st_size > MAX_VIDEO_BYTES:
        return (
            f'<p class="empty">The video is long; it lies beside this page: {data.video.name}</p>'
        )
    film = base64.b64encode(data.video.read_bytes()).decode()
    return (
        '<video controls muted loop playsinline preload="auto" '
        f'src="data:video/mp4;base64,{film}"></video><p class="hint">The cameras, side by side, '
        "at 12.5 frames per second.</p>"
    )


def _events(data: RunData) -> str:
    """Return what happened, in words; chunks and actions are in the timeline."""
    rows = [(event.t_ns, *told) for event in data.events if (told := _words(event))]
    start_ns = data.manifest.started_ns
    body = "".join(
        f'<tr><td class="num">{(t_ns - start_ns) / NS_PER_S:.3f} s</td>'
        f'<td class="key">{escape(source)}</td><td>{escape(text)}</td></tr>'
        for t_ns, source, text in rows[:MAX_EVENTS]
    )
    more = len(rows) - MAX_EVENTS
    hint = f'<p class="hint">{more} more are in events.jsonl.</p>' if more > 0 else ""
    return f"<table>{body}</table>{hint}" if rows else ""


def _words(event: Event) -> tuple[str, str] | None:
    """Return an event's source and sentence, or None for the many small ones."""
    match event:
        case SchedulerStateChanged():
            return "scheduler", _with(event.state.replace("_", " "), event.detail)
        case ArmModeChanged():
            return "arm", _with(event.mode, event.reason)
        case CommandRejected():
            return "arm", _with(f"rejected command {event.sequence}: {event.reason}", event.detail)
        case EpisodeStarted():
            return "episode", _with(f"{event.episode} began (seed {event.seed})", event.text)
        case EpisodeEnded():
            return "episode", f"{event.episode} ended: {event.outcome}, {event.duration_s:.1f} s"
        case Note():
            return event.source, event.text
        case _:
            return None


def _with(text: str, detail: str) -> str:
    return f"{text} – {detail}" if detail else text


def _numbers(summary: RunSummary) -> str:
    tables = []
    for title, entries in sections(summary):
        rows = "".join(
            f'<tr><td class="key">{escape(label)}</td><td class="num">{escape(value)}</td></tr>'
            for label, value in entries
        )
        tables.append(f'<table><tr><th colspan="2">{escape(title)}</th></tr>{rows}</table>')
    return f'<div class="numbers">{"".join(tables)}</div>'


def _context(data: RunData) -> str:
    machine = data.manifest.machine
    facts = [
        ("command", " ".join(data.manifest.command) or "–"),
        ("cpu", f"{machine.cpu}, {machine.cores} cores, governor {machine.governor}"),
        ("memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("load at the start", f"{machine.load_1m:.2f}"),
        ("system", f"{machine.kernel}, {machine.architecture}, Python {machine.python}"),
        ("libraries", _pairs(machine.libraries.items())),
        ("processes", _pairs(data.manifest.pids.items())),
    ]
    rows = "".join(
        f'<tr><td class="key">{escape(name)}</td><td>{escape(value)}</td></tr>'
        for name, value in facts
    )
    config = escape(json.dumps(data.config, indent=2, ensure_ascii=False))
    return (
        f"<table>{rows}</table><br><details><summary>config.json</summary><pre>{config}</pre>"
        "</details>"
    )


def _pairs(items: Iterable[tuple[str, object]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in items) or "–"
