"""The ablation as a table and a plot, made of the cells' records and of nothing else.

python -m dvla.benchmarks.dom.ablation_report FOLDER --out docs
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from dvla.benchmarks.dom.ablation import SWITCHES
from dvla.benchmarks.dom.campaign import CampaignReport, read_campaign
from dvla.benchmarks.dom.page import SPEED_EDGES, speed_bins
from dvla.benchmarks.dom.paired import compare_paired
from dvla.benchmarks.dom.result import wilson_interval
from dvla.engines.cli_errors import run_main
from dvla.engines.errors import UsageError
from dvla.runtime.report.palette import COMMANDED, EXECUTED, NEUTRAL, REACHED
from dvla.runtime.report.svg import Axes

NAMES = {
    (True, True): "CI + LAAS (streaming)",
    (True, False): "CI, no LAAS",
    (False, True): "LAAS, no CI",
    (False, False): "neither (synchronous)",
}
_COLOURS = dict(zip(SWITCHES, (EXECUTED, COMMANDED, REACHED, NEUTRAL), strict=True))
_IN_TIME_S = 3.0
_STYLE = (
    "<style>text{font:11px system-ui,'DejaVu Sans',sans-serif;fill:#5b6675}"
    ".title{font-size:13px;font-weight:600;fill:#1b2430}.label{font-size:12px}"
    ".grid{stroke:#e9ecf1;stroke-width:1}</style>"
)
Switches = tuple[bool, bool]
Cells = dict[tuple[float, Switches], CampaignReport]


def read_cells(folder: Path) -> Cells:
    """Return the finished cells of an ablation by latency [ms] and switches.

    Raises:
        UsageError: there are none, one is damaged, or they were not run on the same episodes by
            the same policy.
    """
    reports = [read_campaign(path) for path in sorted(folder.glob("*.json"))]
    episodes = {(report.cell.first_seed, report.cell.trials) for report in reports}
    if len(episodes) != 1:
        raise UsageError(
            f"{folder} does not hold the cells of one ablation",
            got=f"{len(reports)} reports over {len(episodes)} sets of episodes",
            next_command=f"python -m dvla.benchmarks.dom.ablation --out {folder}",
        )
    policies = sorted({_policy_words(report) for report in reports})
    if len(policies) != 1:
        raise UsageError(
            f"{folder} holds the cells of several policies",
            got=", ".join(policies),
            expected="those of one",
            next_command="keep each policy's ablation in a folder of its own",
        )
    cells: Cells = {}
    for report in reports:
        config = report.cell.config
        switches = (config.scheduler.ci, config.scheduler.laas)
        cells[config.latency.median_ms, switches] = report
    return cells


def _policy_words(report: CampaignReport) -> str:
    """Return which policy played a cell, on which arm."""
    config = report.cell.config
    digest = f" {config.policy_digest}" if config.policy_digest else ""
    return f"{config.policy}{digest} on {config.robot}"


def markdown(cells: Cells) -> str:
    """Return the table: a row per latency and switches, the streaming cell first."""
    head = (
        "| latency | | caught | 95 % | within 3 s | p against streaming | time p50 / p95 |"
        " path p50 | age p50 | stale | underruns | seam p50 / p95 |"
    )
    lines = [head, "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for latency_ms in sorted({latency for latency, _ in cells}):
        streaming = cells.get((latency_ms, (True, True)))
        for switches in SWITCHES:
            report = cells.get((latency_ms, switches))
            if report is not None:
                lines.append(_row(latency_ms, switches, report, streaming))
    return "\n".join(lines) + "\n"


def _row(
    latency_ms: float, switches: Switches, report: CampaignReport, streaming: CampaignReport | None
) -> str:
    episodes = report.episodes
    low, high = report.interval_95
    in_time = sum(e.success and e.completion_s <= _IN_TIME_S for e in episodes)
    p = (
        ""
        if streaming is None or streaming is report
        else _p_text(compare_paired(streaming, report).p)
    )
    seams = [1e3 * episode.seam_max_m for episode in episodes]
    took = [e.completion_s for e in episodes if e.success]
    return (
        f"| {latency_ms:g} ms | {NAMES[switches]} | **{report.successes} of {len(episodes)}**"
        f" | {100 * low:.1f} to {100 * high:.1f} % | {in_time} | {p}"
        f" | {_middle(took):.2f} / {_p95(took):.2f} s"
        f" | {_middle([e.path_m for e in episodes]):.2f} m"
        f" | {1e3 * _middle([e.observation_age_p50_s for e in episodes]):.0f} ms"
        f" | {sum(e.actions_stale for e in episodes)}"
        f" | {sum(e.underruns for e in episodes)}"
        f" | {_middle(seams):.0f} / {_p95(seams):.0f} mm |"
    )


def plot(cells: Cells, policy: str) -> str:
    """Return the success rate over latency with 95 % intervals, as a standalone SVG."""
    latencies = sorted({latency for latency, _ in cells})
    trials = next(iter(cells.values())).cell.trials
    axes = Axes(
        f"Caught of {trials}",
        x_label="injected inference latency [ms]",
        y_label=f"caught by {policy} [%]",
        x_range=(latencies[0] - 15.0, latencies[-1] + 15.0),
        y_range=(0.0, 102.0),
        size=(760, 340),
    )
    for index, switches in enumerate(SWITCHES):
        shift = 4.0 * (index - 1.5)
        reports = [(x, cells[x, switches]) for x in latencies if (x, switches) in cells]
        if not reports:
            continue
        x = [latency + shift for latency, _ in reports]
        y = [100.0 * report.success_rate for _, report in reports]
        axes.line(x, y, _COLOURS[switches], NAMES[switches])
        axes.dots(x, y, _COLOURS[switches], r=3.5)
        for at, (_, report) in zip(x, reports, strict=True):
            low, high = wilson_interval(report.successes, len(report.episodes))
            axes.line([at, at], [100 * low, 100 * high], _COLOURS[switches])
    return _standalone(axes.render())


def speed_plot(cells: Cells, latency_ms: float, policy: str) -> str:
    """Return the success rate over the object's speed at one latency, as a standalone SVG."""
    axes = Axes(
        f"Caught, {latency_ms:g} ms",
        x_label="speed at the start, bins of 0.15 m/s [m/s]",
        y_label=f"caught by {policy} [%]",
        x_range=(SPEED_EDGES[0], SPEED_EDGES[-1]),
        y_range=(0.0, 102.0),
        size=(760, 340),
    )
    for index, switches in enumerate(SWITCHES):
        report = cells.get((latency_ms, switches))
        if report is None:
            continue
        x, y = [], []
        for low, high, inside in speed_bins(report.episodes):
            caught = sum(episode.success for episode in inside)
            x.append((low + high) / 2 + 0.006 * (index - 1.5))
            y.append(100.0 * caught / len(inside))
            bounds = [100.0 * each for each in wilson_interval(caught, len(inside))]
            axes.line([x[-1], x[-1]], bounds, _COLOURS[switches])
        axes.line(x, y, _COLOURS[switches], NAMES[switches])
        axes.dots(x, y, _COLOURS[switches], r=3.5)
    return _standalone(axes.render())


def _standalone(svg: str) -> str:
    """Return a plot as a file of its own."""
    opening = '<svg xmlns="http://www.w3.org/2000/svg" width="760" height="340" '
    body = svg.replace("<svg ", opening, 1)
    end = body.index(">") + 1
    background = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return body[:end] + _STYLE + background + body[end:] + "\n"


def _middle(values: Sequence[float]) -> float:
    return _quantile(values, 0.5)


def _p95(values: Sequence[float]) -> float:
    return _quantile(values, 0.95)


def _quantile(values: Sequence[float], share: float) -> float:
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def main() -> int:
    """Write table and plot of an ablation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the cells' reports")
    parser.add_argument("--out", type=Path, required=True, help="folder for table and plot")
    parser.add_argument("--name", default="ablation", help="of both files")
    asked = parser.parse_args()
    cells = read_cells(asked.folder)
    policy = Path(next(iter(cells.values())).cell.config.policy).name
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / f"{asked.name}.svg").write_text(plot(cells, policy))
    for latency_ms in sorted({latency for latency, _ in cells}):
        speeds = asked.out / f"{asked.name}-speed-{latency_ms:g}ms.svg"
        speeds.write_text(speed_plot(cells, latency_ms, policy))
    (asked.out / f"{asked.name}-table.md").write_text(markdown(cells))
    print(markdown(cells), end="")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
