"""What a policy does in every kind of frozen scene, beside others on the same scenes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dvla.benchmarks.dom.result import EpisodeResult
from dvla.benchmarks.report.episodes import rate, read_report, round_ones, share
from dvla.benchmarks.report.markdown import table

_REACTIVITY = (
    ("*reactivity*, 0 ms", "reactivity-0ms-rtc-aged"),
    ("*reactivity*, its own latency", "reactivity-own-rtc-aged"),
    ("*reactivity*, 200 ms", "reactivity-200ms-rtc-aged"),
    ("*reactivity*, 200 ms, synchronous", "reactivity-200ms-sync"),
)
_CHOICES = (
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
SCENES = (*_REACTIVITY, *_CHOICES)
"""What is tabled, and the report's file in a policy's folder."""


def overview(results: Path, folder: str) -> str:
    """Return the table of what one policy does.

    Args:
        results: folder of the committed results.
        folder: the policy's, in it.
    """
    rows = []
    for name, file in SCENES:
        episodes = _episodes(results / folder, file)
        rounds = round_ones(episodes)
        if episodes:
            rows.append((name, rate(episodes), share(rounds)))
    return table(("frozen scenes", "success (95 %)", "balls and cans"), rows)


def policies(results: Path, folders: Mapping[str, str], last: str, before: str) -> str:
    """Return the table of several policies on the same scenes.

    What two of them were not both tried on is left out where they are compared.

    Args:
        results: folder of the committed results.
        folders: name of each column and its policy's folder.
        last: column of the policy that is compared.
        before: column of the one that it is compared with, pair by pair.
    """
    rows = []
    for name, file in SCENES:
        tried = {column: _episodes(results / folder, file) for column, folder in folders.items()}
        cells = [share(episodes) if episodes else "not measured" for episodes in tried.values()]
        rows.append((name, *cells, _alone(tried[last], tried[before])))
    return table(("frozen scenes", *folders, f"{last} alone, {before} alone"), rows)


def sign_test(one: int, other: int) -> float:
    """Return how likely a split as uneven as this is, were both sides as likely (two-sided)."""
    pairs = one + other
    tail: float = sum(math.comb(pairs, k) for k in range(min(one, other) + 1)) / 2.0**pairs
    return min(1.0, 2.0 * tail)


def _episodes(folder: Path, file: str) -> Sequence[EpisodeResult]:
    """Return the episodes of a report; none where nobody measured."""
    path = folder / f"{file}.json"
    return read_report(path).episodes if path.is_file() else ()


def _alone(last: Sequence[EpisodeResult], before: Sequence[EpisodeResult]) -> str:
    """Return what each of two succeeds in where the other does not, and whether that is chance."""
    theirs = {episode.seed: episode.success for episode in before}
    pairs = [(e.success, theirs[e.seed]) for e in last if e.seed in theirs]
    if not pairs:
        return ""
    one, other = pairs.count((True, False)), pairs.count((False, True))
    return f"{one}, {other} (p = {sign_test(one, other):.2g})"
