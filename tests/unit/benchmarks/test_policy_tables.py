"""The tables of policies count again what the committed reports hold."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dvla.benchmarks.report.policy_tables import SCENES, overview, policies
from dvla.benchmarks.report.readme import RESULTS

COMMITTED = Path(__file__).resolve().parents[3] / RESULTS
VISUAL = "dimensions/visual.json"


def cells(table: str, start: str) -> list[str]:
    """Return the cells of the row that starts so, without the first."""
    row = next(line for line in table.splitlines() if line.startswith(f"| {start}"))
    return row.removeprefix("| ").removesuffix(" |").split(" | ")[1:]


def test_every_kind_of_scene_of_the_shipped_policy_has_its_row() -> None:
    lines = overview(COMMITTED, "nano").splitlines()
    assert len(lines) == 2 + len(SCENES)
    episodes = msgspec.json.decode((COMMITTED / "nano" / VISUAL).read_bytes())["episodes"]
    won = [e for e in episodes if e["outcome"] == "success"]
    told, rounds = cells("\n".join(lines), "*visual*")
    assert told.startswith(f"{len(won)}/{len(episodes)} = ")
    assert rounds.startswith(f"{sum(e['kind'] in ('ball', 'can') for e in won)}/")


def test_what_was_not_measured_is_not_compared(tmp_path: Path) -> None:
    """A policy made up of the shipped one's *visual*: one success more, one less, one not tried."""
    (tmp_path / "one").symlink_to(COMMITTED / "nano")
    report = msgspec.json.decode((COMMITTED / "nano" / VISUAL).read_bytes())
    episodes = report["episodes"]
    won = next(e for e in episodes if e["outcome"] == "success")
    lost = next(e for e in episodes if e["outcome"] != "success")
    for episode, outcome in ((won, "timeout"), (lost, "success")):
        episode["outcome"] = outcome
        episode["success"] = outcome == "success"
    report["episodes"] = [e for e in episodes if e is not episodes[-1]]
    made_up = tmp_path / "other" / VISUAL
    made_up.parent.mkdir(parents=True)
    made_up.write_bytes(msgspec.json.encode(report))
    table = policies(tmp_path, {"A": "other", "B": "one"}, last="A", before="B")
    visual = cells(table, "*visual*")
    assert visual[0].endswith(f"/{len(episodes) - 1}") and visual[1].endswith(f"/{len(episodes)}")
    assert visual[2] == "1, 1 (p = 1)"
    assert cells(table, "*spatial*")[::2] == ["not measured", ""]
