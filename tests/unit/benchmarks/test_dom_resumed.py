"""A campaign that goes on: of the same policy and of the same latency, or not at all."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bundle_tools import tiny_bundle

from dvla.benchmarks.dom import campaign
from dvla.benchmarks.dom.campaign import CampaignReport, Cell, partial_path, run_campaign, summarise
from dvla.benchmarks.dom.cell import cell_config, kept_latency
from dvla.benchmarks.dom.command import _place
from dvla.benchmarks.dom.dimensions import dimension_cell, run_dimensions
from dvla.benchmarks.dom.latency import Latency
from dvla.benchmarks.dom.result import CellConfig, EpisodeResult
from dvla.engines.errors import UsageError
from dvla.runtime.errors import ConfigError, LeaseError
from dvla.runtime.machine import describe_machine

SHIPPED = Path(__file__).parents[3] / "policies" / "nano.bundle"
MEASURED = Latency(median_ms=9.0, samples_ms=(8.0, 9.0, 12.0), source="measured on this machine")


def config(policy: Path, **changes: Any) -> CellConfig:
    asked: dict[str, Any] = {
        "policy": str(policy), "robot": "franka", "task": "", "latency": "0", "spread": 0.0,
        "schedule": None, "ci": True, "laas": True, "seam": "switch",
    }  # fmt: skip
    return cell_config(**asked | changes)


def report_of(cell: Cell) -> bytes:
    episode = EpisodeResult(
        seed=cell.first_seed, kind="ball", speed=0.3, outcome="success", success=True,
        completion_s=2.0, path_m=1.0, inferences=10, chunks_merged=9, actions_stale=4,
        actions_executed=50, underruns=1, seam_max_m=0.01, accepted=100, rejected=0,
        rejected_by={}, stops=0, saturated_ticks=0, observation_age_p50_s=0.2,
        observation_age_max_s=0.3, tracking_max_m=0.01,
    )  # fmt: skip
    return msgspec.json.encode(summarise(cell, [episode], "-", describe_machine()))


def run_motion(folder: Path, given: CellConfig) -> object:
    return run_dimensions(
        ("motion",), given, folder, task=None, trials=1, workers=1, command=lambda cell: "",
        progress=lambda result: None,
    )  # fmt: skip


def test_another_policy_in_the_same_place_is_another_cell(tmp_path: Path) -> None:
    """Its episodes are not mixed with the earlier one's, nor are the earlier one's its own."""
    place, out = tmp_path / "b.bundle", tmp_path / "dom.json"
    shutil.copytree(SHIPPED, place)
    first = config(place)
    partial_path(out).write_bytes(msgspec.json.encode(Cell(config=first, first_seed=0, trials=1)))
    (tmp_path / "motion.json").write_bytes(report_of(dimension_cell(first, "motion", 1)))
    assert run_motion(tmp_path, first)
    shutil.rmtree(place)
    shutil.copytree(tiny_bundle(), place)
    second = config(place)
    with pytest.raises(ConfigError, match=r"the content of .*b\.bundle has changed since"):
        run_campaign(
            Cell(config=second, first_seed=0, trials=1), out, workers=1, command="-", progress=print
        )
    with pytest.raises(UsageError, match="has changed since"):
        run_motion(tmp_path, second)


def test_two_campaigns_do_not_make_the_same_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first to end would remove the episodes of the other one."""
    cell, out = Cell(config=CellConfig(), first_seed=0, trials=1), tmp_path / "new" / "dom.json"
    episode = msgspec.json.decode(report_of(cell), type=CampaignReport).episodes[0]
    played: list[object] = []

    def start() -> CampaignReport:
        return run_campaign(cell, out, workers=1, command="-", progress=played.append)

    def play(
        _work: object, _left: object, _workers: int, take: Callable[[int, bytes], None]
    ) -> None:
        with pytest.raises(LeaseError, match=r"dom\.json is in use by process"):
            start()
        take(0, msgspec.json.encode(episode))

    monkeypatch.setattr(campaign, "run_seeds", play)
    assert start().episodes == (episode,) and played == [episode]
    assert [path.name for path in out.parent.iterdir()] == ["dom.json"]


def test_a_disk_that_locks_no_files_holds_reports_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    cell, out = Cell(config=CellConfig(), first_seed=0, trials=1), tmp_path / "dom.json"
    episode = msgspec.json.decode(report_of(cell), type=CampaignReport).episodes[0]

    def play(
        _work: object, _left: object, _workers: int, take: Callable[[int, bytes], None]
    ) -> None:
        take(0, msgspec.json.encode(episode))

    monkeypatch.setattr(campaign, "InstanceLock", no_locks)
    monkeypatch.setattr(campaign, "run_seeds", play)
    report = run_campaign(cell, out, workers=1, command="-", progress=lambda _: None)
    assert report.episodes == (episode,)


def test_a_report_that_a_full_disk_cut_off_is_told(tmp_path: Path) -> None:
    cell = dimension_cell(CellConfig(), "motion", 1)
    (tmp_path / "motion.json").write_bytes(report_of(cell)[:100])
    with pytest.raises(UsageError, match="is not a report of dvla-bench dom"):
        run_motion(tmp_path, CellConfig())


def test_a_measured_latency_is_kept_when_the_run_goes_on(tmp_path: Path) -> None:
    begun = config(SHIPPED)
    cell = Cell(
        config=msgspec.structs.replace(begun, latency=MEASURED), first_seed=20_000, trials=9
    )
    partial, report = tmp_path / "a.partial.jsonl", tmp_path / "motion.json"
    partial.write_bytes(msgspec.json.encode(cell) + b"\n")
    report.write_bytes(report_of(dimension_cell(cell.config, "motion", 1)))
    missing = tmp_path / "none.partial.jsonl"
    for kept in (partial, report):
        again = config(SHIPPED, latency="measured", kept=[missing, kept])
        assert again == cell.config  # and nothing was timed: the timings would be others
    for other in (
        msgspec.structs.replace(begun, policy_digest="0"),
        msgspec.structs.replace(begun, noise_scale=1.0),
    ):
        assert kept_latency(other, [partial, report]) is None
    partial.write_bytes(msgspec.json.encode(Cell(config=begun, first_seed=0, trials=1)) + b"\n")
    assert kept_latency(begun, [partial]) is None


def test_a_folder_of_reports_keeps_its_whole_name(tmp_path: Path) -> None:
    assert _place(tmp_path / "v1.2", folder=True) == tmp_path / "v1.2"
    assert _place(tmp_path / "dom.json", folder=True) == tmp_path / "dom"
    assert _place(tmp_path / "r-0.5.json", folder=False) == tmp_path / "r-0.5.json"
