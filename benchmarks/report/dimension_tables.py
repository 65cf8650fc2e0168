"""Tables of the benchmark's closed loop, made from the reports of ``dvla-bench dom``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from dvla.benchmarks.dom.campaign import CampaignReport
from dvla.benchmarks.dom.dimensions import dimensions_table
from dvla.benchmarks.dom.result import EpisodeResult
from dvla.benchmarks.dom.schedules import name_of
from dvla.benchmarks.report.episodes import rate, read_report, round_ones, share
from dvla.benchmarks.report.markdown import said, table
from dvla.runtime.twin.scenes.choice import DIMENSIONS, Dimension

_Slice = tuple[str, Callable[[EpisodeResult], bool]]
_SPEEDS = (0.0, 0.25, 0.5, 0.75)
_SETTINGS = (
    "0ms-rtc-aged", "own-rtc-aged", "200ms-rtc-aged", "200ms-rtc", "200ms-switch",
    "200ms-noci", "200ms-nolaas", "200ms-sync",
)  # fmt: skip
_SEED_SETTINGS = (
    "reactivity-0ms-rtc-aged", "reactivity-own-rtc-aged", "reactivity-200ms-rtc-aged",
    "reactivity-200ms-sync", "one-200ms-rtc-aged",
)  # fmt: skip


def dimensions(results: Path, folder: str) -> str:
    """Return the table of a policy in one setting: a line for each dimension."""
    reports = _of_dimensions(results, folder)
    first = next(iter(reports.values()))
    return f"{dimensions_table(reports)}\n\n{said(first.command, first.machine)}"


def dimensions_by_speed(results: Path, folder: str) -> str:
    """Return what a policy does in each dimension by the speed of its (first) object."""
    slices = _by_speed()
    rows = []
    for name, report in _of_dimensions(results, folder).items():
        still = [e for e in report.episodes if e.speed == 0.0]
        moving = [e for e in report.episodes if e.speed > 0.0]
        parts = [still, *([e for e in moving if chosen(e)] for _, chosen in slices)]
        rows.append((name, *(share(part) if part else "none" for part in parts)))
    return table(("dimension", "at rest", *(name for name, _ in slices)), rows)


def _of_dimensions(results: Path, folder: str) -> dict[Dimension, CampaignReport]:
    return {
        name: read_report(path)
        for name in DIMENSIONS
        if (path := results / folder / f"{name}.json").is_file()
    }


def caught(results: Path, stem: str) -> str:
    """Return the table of a policy's settings: what it catches, by kind and by speed of object."""
    paths = [results / f"{stem}-{setting}.json" for setting in _SETTINGS]
    reports = [read_report(path) for path in paths if path.is_file()]
    slices: list[_Slice] = [
        ("balls", lambda e: e.kind == "ball"),
        ("cans", lambda e: e.kind == "can"),
        ("boxes", lambda e: e.kind == "box"),
        *_by_speed(),
    ]
    heads = ("latency and schedule", "caught", "balls and cans", *(name for name, _ in slices))
    rows = []
    for report in reports:
        episodes = report.episodes
        parts = [share([e for e in episodes if chosen(e)]) for _, chosen in slices]
        rows.append((_setting(report), rate(episodes), rate(round_ones(episodes)), *parts))
    return f"{table(heads, rows)}\n{said(reports[0].command, reports[0].machine)}"


def training_seeds(results: Path, stem: str, shipped: int) -> str:
    """Return the table of the balls and cans that a policy catches, of each training seed.

    Args:
        results: Folder of the committed results: those of the policy that ships in
            ``STEM/SCENES-SETTING.json``, of others in ``STEM-seeds/SEED/SCENES-SETTING.json``.
        stem: Name of the policy.
        shipped: Training seed of the one that ships.
    """
    prefixes = {shipped: f"{stem}/"}
    for folder in (results / f"{stem}-seeds").glob("*"):
        prefixes[int(folder.name)] = f"{stem}-seeds/{folder.name}/"
    rows = []
    for name in _SEED_SETTINGS:
        paths = [results / f"{prefixes[seed]}{name}.json" for seed in sorted(prefixes)]
        reports = [read_report(path) if path.is_file() else None for path in paths]
        first = next((report for report in reports if report is not None), None)
        if first is None:
            continue  # nobody measured it
        config = first.cell.config
        cells, rates = [], []
        for report in reports:
            tried = round_ones(report.episodes) if report is not None else []
            rates += [sum(e.success for e in tried) / len(tried)] if tried else []
            cells.append(f"{share(tried)} = {rates[-1]:.1%}" if tried else "not measured")
        mean = f"{sum(rates) / len(rates):.1%}" if len(rates) == len(reports) else ""
        rows.append((f"{config.dimension or config.scenes}, {_setting(first)}", *cells, mean))
    heads = ("scenes, latency and schedule", *(f"seed {each}" for each in sorted(prefixes)), "mean")
    return table(heads, rows)


def _by_speed() -> list[_Slice]:
    return [(f"{low:g} to {high:g} m/s", _between(low, high)) for low, high in pairwise(_SPEEDS)]


def _between(low: float, high: float) -> Callable[[EpisodeResult], bool]:
    last = high == _SPEEDS[-1]
    return lambda e: low <= e.speed and (last or e.speed < high)


def _setting(report: CampaignReport) -> str:
    config = report.cell.config
    own = f", measured: {config.latency.median_ms:.0f} ms" if config.latency.source else ""
    latency = f"its own{own}" if own else f"{config.latency.median_ms:g} ms"
    return f"{latency}, {name_of(config.scheduler)}"
