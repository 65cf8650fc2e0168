"""What a policy does in every kind of frozen scene, beside others on the same scenes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dvla.benchmarks.dom.campaign import CampaignReport
from dvla.benchmarks.dom.paired import compare_paired
from dvla.benchmarks.report.episodes import rate, read_report, round_ones, share
from dvla.benchmarks.report.markdown import table

SCENES = (
    ("*reactivity*, 0 ms", "reactivity-0ms-rtc-aged"),
    ("*reactivity*, its own latency", "reactivity-own-rtc-aged"),
    ("*reactivity*, 200 ms", "reactivity-200ms-rtc-aged"),
    ("*reactivity*, 200 ms, synchronous", "reactivity-200ms-sync"),
    ("*visual*: by colour, form, size", "dimensions/visual"),
    ("*spatial*: by place among lookalikes", "dimensions/spatial"),
    ("*motion*: by motion alone", "dimensions/motion"),
    ("*adaptation*: what turns on its way", "dimensions/adaptation"),
    ("*disturbance*: what is pushed", "dimensions/disturbance"),
    ("*motion-shift*: what slides otherwise, in curves", "dimensions/motion-shift"),
    ("*visual-shift*: in colours and forms never drawn", "dimensions/visual-shift"),
    ("*reactivity*, into a bowl, crate or tray", "place-own-rtc-aged"),
    ("*sequencing*: two into one, in order", "dimensions/sequencing"),
)
"""What is tabled, and the report's file in a policy's folder."""


def overview(results: Path, folder: str) -> str:
    """Return the table of what one policy does.

    Args:
        results: folder of the committed results.
        folder: the policy's, in it.
    """
    rows = []
    for name, file in SCENES:
        report = _measured(results / folder, file)
        if report is not None:
            episodes = report.episodes
            rows.append((name, rate(episodes), share(round_ones(episodes))))
    return table(("frozen scenes", "success (95 %)", "balls and cans"), rows)


def policies(results: Path, folders: Mapping[str, str], last: str, before: str) -> str:
    """Return the table of several policies on the same scenes.

    Args:
        results: folder of the committed results.
        folders: name of each column and its policy's folder.
        last: column of the policy that is compared.
        before: column of the one that it is compared with, on the episodes that both played.

    Raises:
        UsageError: those two played other scenes.
    """
    rows = []
    for name, file in SCENES:
        tried = {column: _measured(results / folder, file) for column, folder in folders.items()}
        cells = [share(report.episodes) if report else "not measured" for report in tried.values()]
        rows.append((name, *cells, _alone(tried[last], tried[before])))
    return table(("frozen scenes", *folders, f"{last} alone, {before} alone"), rows)


def _measured(folder: Path, file: str) -> CampaignReport | None:
    path = folder / f"{file}.json"
    return read_report(path) if path.is_file() else None


def _alone(last: CampaignReport | None, before: CampaignReport | None) -> str:
    """Return what each of two succeeds in where the other does not, and whether that is chance."""
    if last is None or before is None:
        return ""
    found = compare_paired(last, before)
    return f"{found.only_a}, {found.only_b} (p = {found.p:.2g})"
