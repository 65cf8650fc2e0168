"""The ablation: frozen cells, paired statistics, and a report made of the records alone."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dvla.benchmarks.dom import ablation
from dvla.benchmarks.dom.ablation import FIRST_SEED, TRIALS, cells
from dvla.benchmarks.dom.ablation_report import markdown, plot, read_cells, speed_plot
from dvla.benchmarks.dom.campaign import CampaignReport, Cell, summarise
from dvla.benchmarks.dom.result import EpisodeResult
from dvla.engines.bundle import read_bundle
from dvla.engines.errors import UsageError
from dvla.runtime.machine import describe_machine

ROOT = Path(__file__).parents[3]
RECORDED, SHIPPED = ROOT / "benchmarks/results/ablation", ROOT / "policies" / "nano.bundle"


def episode(seed: int, success: bool) -> EpisodeResult:
    return EpisodeResult(
        seed=seed, kind="ball", speed=0.3, outcome="success" if success else "timeout",
        success=success, completion_s=2.0 if success else 10.0, path_m=1.0, inferences=10,
        chunks_merged=9, actions_stale=4, actions_executed=50, underruns=1, seam_max_m=0.01,
        accepted=100, rejected=0, rejected_by={}, stops=0, saturated_ticks=0,
        observation_age_p50_s=0.2, observation_age_max_s=0.3, tracking_max_m=0.01,
    )  # fmt: skip


def report(cell: Cell, caught: set[int], trials: int = 20) -> CampaignReport:
    cell = msgspec.structs.replace(cell, trials=trials)
    seeds = range(cell.first_seed, cell.first_seed + trials)
    episodes = [episode(seed, seed - cell.first_seed in caught) for seed in seeds]
    return summarise(cell, episodes, "command", describe_machine())


def write(folder: Path, trials: int = 20) -> Path:
    for index, (name, cell) in enumerate(cells()):
        caught = set(range(trials - index))
        encoded = msgspec.json.encode(report(cell, caught, trials))
        (folder / f"{name}.json").write_bytes(encoded)
    return folder


def test_the_cells_are_the_papers_four_at_every_latency_on_the_same_seeds() -> None:
    found = dict(cells())
    assert len(found) == 16
    assert {(c.first_seed, c.trials) for c in found.values()} == {(FIRST_SEED, TRIALS)}
    switches = {(c.config.scheduler.ci, c.config.scheduler.laas) for c in found.values()}
    assert len(switches) == 4
    assert {c.config.latency.median_ms for c in found.values()} == {0.0, 100.0, 200.0, 400.0}
    assert TRIALS >= 200


def test_table_and_plot_hold_every_cell(tmp_path: Path) -> None:
    found = read_cells(write(tmp_path))
    table = markdown(found)
    assert table.count("\n| ") == 16
    first = table.splitlines()[2]
    assert first.startswith("| 0 ms | CI + LAAS (streaming) | **16 of 20**")
    svg = plot(found, "oracle")
    assert svg.startswith("<svg xmlns=") and svg.count("<circle") == 16
    # All made-up objects are equally fast: one bin, four cells.
    assert speed_plot(found, 200.0, "oracle").count("<circle") == 4


def test_an_unfinished_ablation_shows_what_there_is(tmp_path: Path) -> None:
    write(tmp_path)
    for path in tmp_path.glob("400ms*"):
        path.unlink()
    found = read_cells(tmp_path)
    assert markdown(found).count("\n| ") == 12
    assert plot(found, "oracle").count("<circle") == 12


def test_an_ablation_that_is_there_is_not_run_again_nor_taken_for_another_policys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Cell] = []

    def run(cell: Cell, *_: object, **__: object) -> CampaignReport:
        ran.append(cell)
        return report(cell, set())

    monkeypatch.setattr(ablation, "run_campaign", run)
    write(tmp_path, TRIALS)
    (tmp_path / "400ms-ci-laas.json").unlink()
    ablation.run_ablation("oracle", tmp_path, 1)
    assert [cell.config.latency.median_ms for cell in ran] == [400.0]
    with pytest.raises(UsageError, match=r"200ms-ci-laas\.json holds another cell.*another policy"):
        ablation.run_ablation(str(SHIPPED), tmp_path, 1)
    assert len(ran) == 1


def test_a_cell_knows_which_bundle_it_is_of() -> None:
    digests = {cell.config.policy_digest for _, cell in cells(str(SHIPPED))}
    assert digests == {read_bundle(SHIPPED).digest}
    assert {cell.config.policy_digest for _, cell in cells()} == {""}


def test_the_recorded_ablation_is_one_of_these_cells() -> None:
    found = read_cells(RECORDED)
    assert {report.cell.config for report in found.values()} == {c.config for _, c in cells()}


def test_cells_of_two_policies_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (name, cell), *_ = cells(str(SHIPPED))
    (tmp_path / f"{name}.json").write_bytes(msgspec.json.encode(report(cell, set())))
    with pytest.raises(UsageError, match=r"several policies.*nano\.bundle .*oracle"):
        read_cells(tmp_path)
    (tmp_path / f"{name}.json").write_bytes(b"{")
    with pytest.raises(UsageError, match="is not a report"):
        read_cells(tmp_path)


def test_cells_of_other_episodes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one ablation"):
        read_cells(tmp_path)
    write(tmp_path)
    (name, cell), *_ = cells()
    (tmp_path / f"{name}.json").write_bytes(msgspec.json.encode(report(cell, set(), 10)))
    with pytest.raises(UsageError, match="2 sets"):
        read_cells(tmp_path)
