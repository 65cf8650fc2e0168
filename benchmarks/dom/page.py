"""The page of a campaign: what was caught, per speed, in which time, and films of what was not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np

from dvla.benchmarks.dom.campaign import CampaignReport
from dvla.benchmarks.dom.clips import Clip
from dvla.benchmarks.dom.paired import name_of_campaign
from dvla.benchmarks.dom.result import EpisodeResult, wilson_interval
from dvla.benchmarks.report.html import cards, document, section, table, two
from dvla.runtime.report.palette import ALARM, COMMANDED, EXECUTED, NEUTRAL
from dvla.runtime.report.svg import Axes, value_range

SPEED_EDGES = (0.0, 0.15, 0.30, 0.45, 0.60, 0.75)
"""Of the bins of the object's speed at the start [m/s]; the last one is closed."""
Bin = tuple[float, float, list[EpisodeResult]]


def campaign_page(report: CampaignReport, clips: Sequence[Clip], note: str = "") -> str:
    """Return the page; it loads nothing from anywhere.

    Args:
        report: of the campaign.
        clips: films of failed episodes, the first by seed.
        note: why there are fewer films than there could be.
    """
    name = name_of_campaign(report)
    low, high = (100 * each for each in report.interval_95)
    title = f"{report.successes} of {len(report.episodes)} caught: {name}"
    machine = f"{report.machine.cpu}, {report.machine.cores} cores"
    body = [
        f'<h1>{escape(title)}</h1><p class="meta">success rate '
        f"<b>{100 * report.success_rate:.1f} %</b> (95 % {low:.1f} to {high:.1f}) · robot "
        f"<b>{escape(report.cell.config.robot)} (twin, virtual clock)</b> · made on "
        f"<b>{escape(machine)}</b></p>",
        cards(_cards(report)),
        section("By the object's speed", two(_speed_plot(report), _speed_table(report))),
        section("Time and timing", two(_time_plot(report), _age_plot(report))),
        section("How episodes ended", _outcomes(report)),
        section("Failures, the first by seed", _gallery(clips, note)),
        section("Command", f"<pre>{escape(report.command)}</pre>"),
        "<footer>Made by dvla-bench dom from its JSON report. A simulation: nothing of this "
        "was run on a real arm.</footer>",
    ]
    return document(f"dvla-bench dom: {name}", "".join(body))


def speed_bins(episodes: Sequence[EpisodeResult]) -> list[Bin]:
    """Return the bins of speed that hold any episode, with their episodes."""
    found = []
    for low, high in pairwise(SPEED_EDGES):
        last = high == SPEED_EDGES[-1]
        inside = [e for e in episodes if low <= e.speed < high or (last and e.speed >= high)]
        if inside:
            found.append((low, high, inside))
    return found


def _cards(report: CampaignReport) -> list[tuple[str, str, str, str]]:
    episodes = report.episodes
    caught_s = [e.completion_s for e in episodes if e.success]
    seams = [1e3 * e.seam_max_m for e in episodes]
    commands = report.accepted + report.rejected
    stale = sum(e.actions_stale for e in episodes)
    executed = sum(e.actions_executed for e in episodes)
    return [
        ("caught", f"{report.successes}", f"of {len(episodes)}", ""),
        ("time to goal", *_spread(caught_s, "s", 2)),
        ("path", *_spread([e.path_m for e in episodes], "m", 2)),
        (
            "observation age",
            *_spread([1e3 * e.observation_age_p50_s for e in episodes], "ms", 0),
        ),
        ("seam jump, largest", *_spread(seams, "mm", 0)),
        ("underruns", f"{sum(e.underruns for e in episodes)}", "", "the plan ran dry"),
        ("stale actions", f"{stale}", "", f"{executed} executed"),
        ("rejected", f"{report.rejected}", f"of {commands}", "commands at the gate"),
    ]


def _spread(values: Sequence[float], unit: str, digits: int) -> tuple[str, str, str]:
    if not values:
        return "–", "", "none"
    p50, p95 = np.percentile(values, [50, 95])
    return f"{p50:.{digits}f}", f"{unit} p50", f"p95 {p95:.{digits}f}"


def _speed_plot(report: CampaignReport) -> str:
    axes = Axes(
        "Caught, by the object's speed at the start (95 % intervals)",
        x_label="speed [m/s]",
        y_label="caught [%]",
        x_range=(SPEED_EDGES[0], SPEED_EDGES[-1]),
        y_range=(0.0, 102.0),
        size=(640, 300),
    )
    for low, high, inside in speed_bins(report.episodes):
        caught = sum(e.success for e in inside)
        rate = 100.0 * caught / len(inside)
        axes.bar(low + 0.01, high - 0.01, rate, EXECUTED, f"{caught} of {len(inside)}")
        bounds = [100.0 * each for each in wilson_interval(caught, len(inside))]
        middle = (low + high) / 2
        axes.line([middle, middle], bounds, NEUTRAL)
    return axes.render()


def _speed_table(report: CampaignReport) -> str:
    rows = []
    for low, high, inside in speed_bins(report.episodes):
        caught = [e for e in inside if e.success]
        bounds = [100.0 * each for each in wilson_interval(len(caught), len(inside))]
        took = f"{np.median([e.completion_s for e in caught]):.2f}" if caught else "–"
        rows.append(
            (
                f"{low:.2f} to {high:.2f}",
                f"{len(caught)} of {len(inside)}",
                f"{bounds[0]:.0f} to {bounds[1]:.0f}",
                took,
                f"{np.median([e.path_m for e in inside]):.2f}",
            )
        )
    head = ("speed [m/s]", "caught", "95 % [%]", "time p50 [s]", "path p50 [m]")
    return table(head, rows)


def _time_plot(report: CampaignReport) -> str:
    """Draw the share that was caught within a time."""
    took = sorted(e.completion_s for e in report.episodes if e.success)
    # An episode that runs into its limit ends a few turns after it.
    longest = max((e.completion_s for e in report.episodes), default=1.0) - 0.1
    axes = Axes(
        "Caught within a time",
        x_label="time since the object appeared [s]",
        y_label="caught [%]",
        x_range=(0.0, math.ceil(longest)),
        y_range=(0.0, 102.0),
        size=(640, 300),
    )
    count = len(report.episodes)
    x, y = [0.0], [0.0]
    for index, time_s in enumerate(took):
        x += [time_s, time_s]
        y += [100.0 * index / count, 100.0 * (index + 1) / count]
    axes.line([*x, float(math.ceil(longest))], [*y, 100.0 * len(took) / count], EXECUTED)
    return axes.render()


def _age_plot(report: CampaignReport) -> str:
    """Draw seam jumps over observation ages, failures apart."""
    points = {
        success: [
            (1e3 * e.observation_age_p50_s, 1e3 * e.seam_max_m)
            for e in report.episodes
            if e.success == success
        ]
        for success in (True, False)
    }
    both = points[True] + points[False]
    axes = Axes(
        "Observation age and largest seam jump",
        x_label="observation age at dispatch, median [ms]",
        y_label="largest seam jump [mm]",
        x_range=value_range([x for x, _ in both], min_span=20.0),
        y_range=value_range([y for _, y in both], floor=0.0, min_span=10.0),
        size=(640, 300),
    )
    for success, colour, name in ((True, COMMANDED, "caught"), (False, ALARM, "not")):
        if points[success]:
            x, y = zip(*points[success], strict=True)
            axes.dots(x, y, colour, name)
    return axes.render()


def _outcomes(report: CampaignReport) -> str:
    rows = [
        (name.replace("_", " "), str(count), f"{100 * count / len(report.episodes):.1f} %")
        for name, count in sorted(report.outcomes.items(), key=lambda each: -each[1])
    ]
    kinds = sorted({e.kind for e in report.episodes})
    by_kind = []
    for kind in kinds:
        inside = [e for e in report.episodes if e.kind == kind]
        caught = sum(e.success for e in inside)
        by_kind.append((kind, f"{caught} of {len(inside)}", f"{100 * caught / len(inside):.0f} %"))
    return two(
        table(("outcome", "episodes", "share"), rows),
        table(("object", "caught", "share"), by_kind),
    )


def _gallery(clips: Sequence[Clip], note: str) -> str:
    """Return the films: chosen by seed, never by what they show."""
    told = f'<p class="hint">{escape(note)}</p>' if note else ""
    films = "".join(
        f'<div><video controls muted loop src="data:video/mp4;base64,{clip.mp4}"></video>'
        f'<p class="hint">seed {clip.seed}, “{escape(clip.instruction)}”: '
        f"{escape(clip.outcome.replace('_', ' '))}</p></div>"
        for clip in clips
    )
    return told + (f'<div class="clips">{films}</div>' if films else "")


def page_path(report: Path) -> Path:
    """Return where the page of a report goes."""
    return report.with_suffix(".html")
