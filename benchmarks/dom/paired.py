"""Two campaigns on the same episodes, compared pair by pair with an exact test."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from dvla.benchmarks.dom.campaign import CampaignReport
from dvla.benchmarks.dom.result import CellConfig, wilson_interval
from dvla.benchmarks.dom.schedules import name_of
from dvla.engines.errors import UsageError


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """What two campaigns say of one another.

    Attributes:
        a / b: names of the two.
        pairs: episodes that both played out.
        both / only_a / only_b / neither: of those, by who succeeded.
        difference: success rate of A less that of B; ``interval_95`` of it (Newcombe's method 10,
            for pairs).
        p: McNemar's exact two-sided p: the chance of so lopsided a split among the episodes that
            only one of them caught, were both equally good.
    """

    a: str
    b: str
    pairs: int
    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    interval_95: tuple[float, float]
    p: float


def exact_p(only_a: int, only_b: int) -> float:
    """Return McNemar's exact two-sided p.

    Only episodes that one caught and the other did not say anything about the difference.
    """
    n, k = only_a + only_b, min(only_a, only_b)
    # A quotient of integers: a float's power of two has an end.
    tail = sum(math.comb(n, i) for i in range(k + 1)) / (1 << n)
    return min(1.0, 2.0 * tail)


def compare_paired(a: CampaignReport, b: CampaignReport) -> Paired:
    """Compare two campaigns on the episodes that both played out.

    Raises:
        UsageError: they have none in common.
    """
    of_b = {episode.seed: episode for episode in b.episodes}
    both_played = [(e, of_b[e.seed]) for e in a.episodes if e.seed in of_b]
    alike = all((one.kind, one.speed) == (two.kind, two.speed) for one, two in both_played)
    if not both_played or not alike or _scenes(a.cell.config) != _scenes(b.cell.config):
        raise UsageError(
            "The two reports are not of the same episodes, so nothing can be paired",
            got=f"{_episodes(a)} and {_episodes(b)}",
            expected="the same robot, task, dimension, scenes and seeds",
            next_command="run both with the same --robot, --task, --dims, --scenes, --task-kind, "
            "--first-seed and --trials",
        )
    pairs = [(one.success, two.success) for one, two in both_played]
    both, only_a = pairs.count((True, True)), pairs.count((True, False))
    only_b, neither = pairs.count((False, True)), pairs.count((False, False))
    return Paired(
        a=name_of_campaign(a),
        b=name_of_campaign(b),
        pairs=len(pairs),
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=neither,
        difference=(only_a - only_b) / len(pairs),
        interval_95=_interval(both, only_a, only_b, neither),
        p=exact_p(only_a, only_b),
    )


def _interval(both: int, only_a: int, only_b: int, neither: int) -> tuple[float, float]:
    """Return Newcombe's interval of the difference of two paired rates (method 10)."""
    n = both + only_a + only_b + neither
    rate_a, rate_b = (both + only_a) / n, (both + only_b) / n
    (low_a, high_a) = wilson_interval(both + only_a, n)
    (low_b, high_b) = wilson_interval(both + only_b, n)
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    cross = float(both * neither - only_a * only_b)
    # A continuity correction where the two go together.
    cross = max(cross - n / 2, 0.0) if cross > 0 else cross
    phi = cross / math.sqrt(margins) if margins else 0.0
    down_a, up_a = rate_a - low_a, high_a - rate_a
    down_b, up_b = rate_b - low_b, high_b - rate_b
    lower = math.sqrt(max(0.0, down_a**2 - 2 * phi * down_a * up_b + up_b**2))
    upper = math.sqrt(max(0.0, up_a**2 - 2 * phi * up_a * down_b + down_b**2))
    difference = rate_a - rate_b
    return difference - lower, difference + upper


def paired_text(found: Paired) -> str:
    """Return the comparison as a few lines."""
    low, high = (100 * each for each in found.interval_95)
    p = "< 0.001" if found.p < 0.001 else f"= {found.p:.3f}"
    verdict = "a difference is shown" if found.p < 0.05 else "no difference is shown"
    return (
        f"A  {found.a}: {found.both + found.only_a} of {found.pairs}\n"
        f"B  {found.b}: {found.both + found.only_b} of {found.pairs}\n"
        f"both {found.both}, only A {found.only_a}, only B {found.only_b}, "
        f"neither {found.neither}\n"
        f"A - B = {100 * found.difference:+.1f} points (95 % {low:+.1f} to {high:+.1f}), "
        f"exact paired p {p}: {verdict}"
    )


def name_of_campaign(report: CampaignReport) -> str:
    """Return policy, latency and schedule in a few words."""
    config = report.cell.config
    return f"{Path(config.policy).name}, {config.latency.text}, {name_of(config.scheduler)}"


def _scenes(config: CellConfig) -> tuple[object, ...]:
    """Return everything that a scene is drawn from besides its seed."""
    return config.robot, config.task, config.dimension, config.scenes, config.task_kind


def _episodes(report: CampaignReport) -> str:
    cell = report.cell
    last = cell.first_seed + cell.trials - 1
    words = [str(part) for part in _scenes(cell.config) if part]
    return f"{' '.join(words)} {cell.first_seed} to {last}"
