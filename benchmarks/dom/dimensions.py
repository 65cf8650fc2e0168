"""The nine dimensions as cells: frozen seeds, their environments, and one report for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from dvla.benchmarks.dom.campaign import CampaignReport, Cell, finished, run_campaign
from dvla.benchmarks.dom.frozen import TRIALS, frozen_seeds, own_task
from dvla.benchmarks.dom.result import CellConfig, EpisodeResult, wilson_interval
from dvla.engines.errors import UsageError
from dvla.runtime.twin.scenes.choice import DIMENSIONS, Dimension, TaskKind

WITHIN_S: dict[TaskKind, float] = {"pick": 3.0, "place": 5.0, "long": 10.0}
"""Success counts as quick within this time from the arm's first motion [s]."""


def dimension_cell(config: CellConfig, dimension: Dimension, trials: int) -> Cell:
    """Return a dimension's cell; every ten trials are one of each environment.

    Args:
        config: policy, robot, latency and switches, the same for all dimensions.
        dimension: which.
        trials: of its 200.

    Raises:
        UsageError: more trials than the frozen list has.
    """
    if trials > TRIALS:
        raise UsageError(
            "--trials asks for more than the frozen list has",
            got=trials,
            expected=f"at most {TRIALS} for a dimension: 10 environments x 20 trials",
        )
    return Cell(
        config=msgspec.structs.replace(config, dimension=dimension),
        first_seed=frozen_seeds(dimension).start,
        trials=trials,
    )


def run_dimensions(
    dimensions: Sequence[Dimension],
    config: CellConfig,
    folder: Path,
    *,
    task: TaskKind | None,
    trials: int,
    workers: int,
    command: Callable[[Cell], str],
    progress: Callable[[EpisodeResult], None],
    ray: str | None = None,
) -> dict[Dimension, CampaignReport]:
    """Run one campaign for each dimension, into one file each; what is there is not run again.

    Args:
        dimensions: in the order of their reports.
        config: the cell without its dimension.
        folder: of the reports.
        task: for all of them; each its own when None.
        trials: of each.
        workers: processes.
        command: that makes a cell's report again.
        progress: called with each episode.
        ray: address of a Ray cluster that plays the episodes instead of this host's processes.

    Raises:
        UsageError: what is there is of another cell.
    """
    reports: dict[Dimension, CampaignReport] = {}
    for dimension in dimensions:
        with_task = msgspec.structs.replace(config, task_kind=task or own_task(dimension))
        cell = dimension_cell(with_task, dimension, trials)
        out = folder / f"{dimension}.json"
        reports[dimension] = finished(out, cell) or run_campaign(
            cell, out, workers=workers, command=command(cell), progress=progress, ray=ray
        )
    return reports


def dimensions_table(reports: dict[Dimension, CampaignReport]) -> str:
    """Return a Markdown table: one line for each dimension that was run."""
    head = (
        "| dimension | task | success | within T | path | time | observation age "
        "| stale / underruns | seam | jerk |"
    )
    lines = [head, "|" + "---|" * 10]
    lines += [_line(name, reports[name]) for name in DIMENSIONS if name in reports]
    return "\n".join(lines)


def _line(name: Dimension, report: CampaignReport) -> str:
    """Return a dimension's line: medians over episodes; way and time are of the successes."""
    episodes, task = report.episodes, report.cell.config.task_kind
    won = [episode for episode in episodes if episode.success]
    limit_s = WITHIN_S[task]
    quick = sum(e.motion_s is not None and e.motion_s <= limit_s for e in won)
    low, high = wilson_interval(report.successes, len(episodes))
    stale, executed = (
        sum(episode.actions_stale for episode in episodes),
        sum(episode.actions_executed for episode in episodes),
    )
    cells = (
        name,
        task,
        f"{report.successes} of {len(episodes)} = {report.success_rate:.0%} "
        f"({low:.0%} to {high:.0%})",
        f"{quick / len(episodes):.0%} in {limit_s:g} s",
        _median([e.path_m for e in won], "{:.2f} m"),
        _median([e.motion_s for e in won], "{:.1f} s"),
        _median([e.observation_age_p50_s for e in episodes], "{:.2f} s"),
        f"{stale / max(1, stale + executed):.0%} / {sum(e.underruns for e in episodes)}",
        _median([1000 * e.seam_max_m for e in episodes], "{:.0f} mm"),
        _median([e.jerk_p95 for e in episodes], "{:.0f} m/s3"),
    )
    return "| " + " | ".join(cells) + " |"


def _median(values: Sequence[float | None], text: str) -> str:
    known = [value for value in values if value is not None]
    return text.format(float(np.median(known))) if known else "none"
