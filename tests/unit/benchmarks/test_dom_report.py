"""What becomes of a campaign: schedules by name, latencies, comparisons in pairs and the page."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from bench_reports import full_report

from dvla.benchmarks.dom.campaign import CampaignReport, Cell, read_campaign, summarise
from dvla.benchmarks.dom.clips import Clip
from dvla.benchmarks.dom.command import command_of
from dvla.benchmarks.dom.latency import Latency
from dvla.benchmarks.dom.latency_source import parse_latency
from dvla.benchmarks.dom.page import campaign_page, speed_bins
from dvla.benchmarks.dom.paired import compare_paired, exact_p, paired_text
from dvla.benchmarks.dom.result import CellConfig, EpisodeResult
from dvla.benchmarks.dom.schedules import SCHEDULES, name_of, schedule_of
from dvla.engines.errors import UsageError
from dvla.runtime.config import SchedulerConfig
from dvla.runtime.machine import describe_machine


def episode(seed: int, success: bool, speed: float = 0.3) -> EpisodeResult:
    return EpisodeResult(
        seed=seed, kind="ball", speed=speed, outcome="success" if success else "out_of_reach",
        success=success, completion_s=2.0 + 0.01 * (seed % 7), path_m=1.0, inferences=10,
        chunks_merged=9, actions_stale=4, actions_executed=50, underruns=1, seam_max_m=0.01,
        accepted=100, rejected=0, rejected_by={}, stops=0, saturated_ticks=0,
        observation_age_p50_s=0.2, observation_age_max_s=0.3, tracking_max_m=0.01,
    )  # fmt: skip


def campaign(caught: set[int], trials: int = 20, first: int = 20_000, **fields) -> CampaignReport:  # type: ignore[no-untyped-def]
    cell = Cell(config=CellConfig(**fields), first_seed=first, trials=trials)
    episodes = [
        episode(seed, seed - first in caught, min(0.75, (seed - first) * 0.75 / 19))
        for seed in range(first, first + trials)
    ]
    return summarise(cell, episodes, "dvla-bench dom", describe_machine())


def test_names_stand_for_different_settings_and_back() -> None:
    assert len(set(map(str, SCHEDULES.values()))) == len(SCHEDULES)
    for name, setting in SCHEDULES.items():
        assert schedule_of(name, SchedulerConfig()) == setting and name_of(setting) == name
    assert not SCHEDULES["synchronous"].ci and not SCHEDULES["synchronous"].laas
    assert name_of(SchedulerConfig(ci=False, seam="blend")) == "CI off, LAAS on, blend"
    with pytest.raises(UsageError, match="--schedule rtc sets the switches"):
        schedule_of("rtc", SchedulerConfig(ci=False))


def test_latencies_come_from_numbers_and_files(tmp_path: Path) -> None:
    assert parse_latency("120", 0.3, CellConfig()) == Latency(median_ms=120.0, spread=0.3)
    file = tmp_path / "latency.json"
    file.write_text(json.dumps({"samples_ms": [100, 300, 200], "source": "my arm"}))
    found = parse_latency(str(file), 0.0, CellConfig())
    assert found.median_ms == 200.0 and found.source == "my arm"
    rng = np.random.default_rng(0)
    draws = {found.draw_ns(rng) for _ in range(60)}
    assert draws == {100_000_000, 200_000_000, 300_000_000}
    many = tmp_path / "many.json"
    many.write_text(json.dumps({"samples_ms": list(range(5000))}))
    assert len(parse_latency(str(many), 0.0, CellConfig()).samples_ms) == 1000


def test_the_report_of_a_latency_benchmark_is_a_distribution(tmp_path: Path) -> None:
    from dvla.benchmarks.report.store import write_report

    measured = full_report()
    write_report(tmp_path / "measured.json", measured)
    found = parse_latency(str(tmp_path / "measured.json"), 0.0, CellConfig())
    assert measured.latency is not None
    subject = measured.latency.subjects[0]
    samples = subject.timings["end to end"].samples_s
    assert sorted(found.samples_ms) == pytest.approx(sorted(1e3 * s for s in samples), abs=1e-3)
    assert subject.name in found.source


@pytest.mark.parametrize(
    ("text", "content", "words"),
    [
        ("soon", None, "milliseconds, 'measured'"),
        ("-1", None, "0 to 10000 ms"),
        ("gone.json", None, "No such file"),
        ("bad.json", "{", "samples_ms"),
        ("bad.json", '{"samples_ms": []}', "0 samples"),
        ("bad.json", '{"samples_ms": [5, -1]}', "each 0 to 10000 ms"),
    ],
)
def test_wrong_latencies_are_refused(
    text: str, content: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / text).write_text(content)
    with pytest.raises(UsageError, match=words):
        parse_latency(text, 0.0, CellConfig())


def test_the_exact_p_is_the_binomial_tail() -> None:
    assert exact_p(5, 0) == pytest.approx(2 * 0.5**5) == exact_p(0, 5)
    assert exact_p(3, 3) == exact_p(0, 0) == 1.0
    # By counting: all outcomes of 8 fair coins at least as lopsided as 7 to 1.
    coins = [sum(flips) for flips in itertools.product((0, 1), repeat=8)]
    share = sum(heads <= 1 or heads >= 7 for heads in coins) / len(coins)
    assert exact_p(7, 1) == pytest.approx(share)
    assert 0.016 < exact_p(520, 600) < 0.02  # beyond what a float's power of two holds


def test_only_episodes_that_differ_speak() -> None:
    a = campaign({0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
    b = campaign({5, 6, 7, 8, 9}, scheduler=SchedulerConfig(ci=False, laas=False))
    found = compare_paired(a, b)
    assert (found.both, found.only_a, found.only_b, found.neither) == (5, 5, 0, 10)
    assert found.p == pytest.approx(2 * 0.5**5) and found.difference == 0.25
    low, high = found.interval_95
    assert 0.0 < low < 0.25 < high < 0.5
    back = compare_paired(b, a)
    assert back.p == found.p and back.interval_95 == pytest.approx((-high, -low))
    text = paired_text(found)
    assert "synchronous" in text and "+25.0 points" in text and "= 0.062" in text
    assert compare_paired(a, a).p == 1.0 and compare_paired(a, a).difference == 0.0


def test_episodes_are_paired_by_seed_and_others_refused() -> None:
    a, b = campaign({0, 1}, trials=20), campaign({0, 1}, trials=10)
    assert compare_paired(a, b).pairs == 10
    with pytest.raises(UsageError, match="not of the same episodes"):
        compare_paired(a, campaign({0}, first=30_000))
    for others in ({"task": "pick up the red can"}, {"scenes": "training"}, {"task_kind": "long"},
                   {"dimension": "motion"}):  # fmt: skip
        with pytest.raises(UsageError, match="not of the same episodes"):
            compare_paired(a, campaign({0}, **others))
    cube = msgspec.structs.replace(b.episodes[3], kind="box")
    other = msgspec.structs.replace(b, episodes=(*b.episodes[:3], cube, *b.episodes[4:]))
    with pytest.raises(UsageError, match="not of the same episodes"):
        compare_paired(a, other)


def test_a_report_comes_back_and_something_else_does_not(tmp_path: Path) -> None:
    report = campaign({1}, latency=Latency(median_ms=3.0, samples_ms=(3.0,), source="x"))
    (tmp_path / "dom.json").write_bytes(msgspec.json.encode(report))
    assert read_campaign(tmp_path / "dom.json") == report
    (tmp_path / "other.json").write_text("{}")
    for name, words in (("other.json", "not a report"), ("gone.json", "No such file")):
        with pytest.raises(UsageError, match=words):
            read_campaign(tmp_path / name)


def test_every_episode_is_in_one_bin_of_speed() -> None:
    report = campaign({3})
    bins = speed_bins(report.episodes)
    assert sorted(e.seed for _, _, inside in bins for e in inside) == list(range(20_000, 20_020))
    assert all(low <= e.speed <= high for low, high, inside in bins for e in inside)
    assert len(bins) == 5


def test_the_page_holds_everything_and_loads_nothing() -> None:
    clip = Clip(
        seed=20_004, instruction="pick up the <red> can", outcome="out_of_reach", mp4="QUJD"
    )
    page = campaign_page(campaign({0, 1, 2}), [clip], "The first by seed.")
    assert "3 of 20 caught" in page and "out of reach" in page and "seed 20004" in page
    assert "&lt;red&gt;" in page and "data:video/mp4;base64,QUJD" in page
    assert page.count("<svg") == 3
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    perfect = campaign_page(campaign(set(range(20))), [], "Every episode succeeded.")
    assert "Every episode succeeded." in perfect and "<video" not in perfect
    nothing = campaign_page(campaign(set()), [], "")
    assert "0 of 20 caught" in nothing


def test_the_command_makes_the_same_cell_again() -> None:
    cell = campaign({0}, scheduler=SCHEDULES["temporal-ensembling"], task="the red can").cell
    assert command_of(cell) == (
        'dvla-bench dom --policy oracle --robot franka --task "the red can" --latency 200 '
        "--schedule temporal-ensembling --trials 20 --first-seed 20000"
    )
    odd = campaign({0}, scheduler=SchedulerConfig(ci=False, seam="blend")).cell
    assert "--no-ci --laas --seam blend" in command_of(odd)
    newest = SchedulerConfig(ci=False, seam="rtc", guide="aged")
    assert "--no-ci --laas --seam rtc --guide aged" in command_of(
        campaign({0}, scheduler=newest).cell
    )
    varied = campaign({0}, scenes="training-one").cell
    assert "--scenes training-one --task-kind pick" in command_of(varied)
    assert "--first-seed 20000" in command_of(varied)
    calm = campaign({0}, policy="policies/nano.bundle", noise_scale=0.5).cell
    assert "--policy nano.bundle" in command_of(calm) and "--noise-scale 0.5" in command_of(calm)
