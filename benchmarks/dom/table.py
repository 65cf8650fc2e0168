"""A campaign as a few lines of text."""

from __future__ import annotations

import numpy as np

from dvla.benchmarks.dom.campaign import CampaignReport
from dvla.benchmarks.dom.paired import name_of_campaign


def campaign_table(report: CampaignReport) -> str:
    """Return the success rate, how the rest ended, and what the loop did."""
    episodes = report.episodes
    low, high = report.interval_95
    caught_s = [episode.completion_s for episode in episodes if episode.success]
    commands = report.accepted + report.rejected
    rows = {
        "cell": name_of_campaign(report),
        "caught": f"{report.successes} of {len(episodes)} = {report.success_rate:.1%} "
        f"(95 % {low:.1%} to {high:.1%})",
        "ended": ", ".join(f"{name} {count}" for name, count in sorted(report.outcomes.items())),
        "time to goal": _spread(caught_s, "s"),
        "path": _spread([episode.path_m for episode in episodes], "m"),
        "observation age": _spread([episode.observation_age_p50_s for episode in episodes], "s"),
        "seam jump, largest": _spread([episode.seam_max_m for episode in episodes], "m"),
        "underruns": str(sum(episode.underruns for episode in episodes)),
        "rejected commands": f"{report.rejected} of {commands} "
        f"({report.rejected / max(1, commands):.2%})",
    }
    return "\n".join(f"{name:>20}  {text}" for name, text in rows.items())


def _spread(values: list[float], unit: str) -> str:
    """Return median and p95 of some values."""
    if not values:
        return "none"
    p50, p95 = np.percentile(values, [50, 95])
    return f"p50 {p50:.3f} {unit}, p95 {p95:.3f} {unit}"
