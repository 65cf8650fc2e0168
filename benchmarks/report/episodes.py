"""Reports of the closed loop, and how shares of their episodes are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from dvla.benchmarks.dom.campaign import CampaignReport
from dvla.benchmarks.dom.result import EpisodeResult, wilson_interval


def read_report(path: Path) -> CampaignReport:
    """Return a report of ``dvla-bench dom``."""
    return msgspec.json.decode(path.read_bytes(), type=CampaignReport)


def round_ones(episodes: Sequence[EpisodeResult]) -> list[EpisodeResult]:
    """Return the episodes of balls and cans, which roll: what the goal is set for."""
    return [e for e in episodes if e.kind in ("ball", "can")]


def share(episodes: Sequence[EpisodeResult]) -> str:
    """Return how many of some episodes succeeded."""
    return f"{sum(e.success for e in episodes)}/{len(episodes)}"


def rate(episodes: Sequence[EpisodeResult]) -> str:
    """Return how many of some episodes succeeded, with the 95 % interval."""
    successes = sum(e.success for e in episodes)
    low, high = wilson_interval(successes, len(episodes))
    return f"{share(episodes)} = {successes / len(episodes):.1%} ({low:.0%} to {high:.0%})"
