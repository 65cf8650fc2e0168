"""The nine dimensions: frozen lists, episodes of every task, and a report of each."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import msgspec
import pytest

from dvla.benchmarks import cli
from dvla.benchmarks.dom.campaign import CampaignReport, Cell, summarise
from dvla.benchmarks.dom.dimensions import (
    dimension_cell,
    dimensions_table,
    run_dimensions,
)
from dvla.benchmarks.dom.frozen import (
    RECORD,
    TRIALS,
    frozen_seeds,
    own_task,
    read_record,
    record_of,
    refuse_thawed,
    scene_digest,
)
from dvla.benchmarks.dom.latency import Latency
from dvla.benchmarks.dom.result import CellConfig, EpisodeResult
from dvla.engines.errors import UsageError
from dvla.runtime.errors import ConfigError
from dvla.runtime.machine import describe_machine
from dvla.runtime.twin.layout import FRANKA_LAYOUT, PIPER_LAYOUT
from dvla.runtime.twin.scenes.choice import DIMENSIONS, SceneChoice, TaskKind
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.scenes.environment import draw_environment
from dvla.training.seeds import refuse_test_seeds

FROZEN_PIPER_SHA256 = "47f567025c00a464c01e3e7b2bac6723505ae6e71e4fae30cd5b2a547f8b23cf"
FROZEN_SHA256 = "fd084e0d260c6745e00d5f75a1b1881934a74ec23269f0287c1b8f496ce0f6e7"


def test_the_record_of_the_test_scenes_is_the_frozen_one() -> None:
    assert hashlib.sha256(RECORD.read_bytes()).hexdigest() == FROZEN_SHA256
    record = read_record()
    assert tuple(record) == DIMENSIONS
    for name, frozen in record.items():
        assert frozen.environments == tuple(draw_environment(name, i) for i in range(10))
        assert len(set(map(msgspec.json.encode, frozen.environments))) == 10
        assert len(frozen.scenes) == 8 * TRIALS and frozen.task == own_task(name)
        for seed in frozen_seeds(name)[:10]:
            refuse_thawed(draw_scene(seed, SceneChoice(family=name, task=frozen.task)))


def test_the_record_of_the_piper_is_the_frozen_one_and_not_the_frankas() -> None:
    assert hashlib.sha256(record_of("piper").read_bytes()).hexdigest() == FROZEN_PIPER_SHA256
    record, layout = read_record("piper"), PIPER_LAYOUT
    assert tuple(record) == DIMENSIONS
    for name, frozen in record.items():
        assert frozen.environments == tuple(draw_environment(name, i, layout) for i in range(10))
        assert frozen.scenes != read_record()[name].scenes
        for seed in frozen_seeds(name)[:3]:
            choice = SceneChoice(family=name, task=frozen.task)
            refuse_thawed(draw_scene(seed, choice, layout), "piper")
            with pytest.raises(ConfigError, match=r"frozen-piper\.json"):
                refuse_thawed(draw_scene(seed, choice), "piper")
    with pytest.raises(ConfigError, match=r"no frozen scenes for the toaster.*franka, piper"):
        read_record("toaster")


def test_a_test_seed_that_draws_another_scene_is_refused() -> None:
    seed = frozen_seeds("reactivity").start
    scene = draw_scene(seed, SceneChoice(family="reactivity"))
    other = msgspec.structs.replace(scene, instruction="pick up the moon")
    with pytest.raises(ConfigError, match=f"seed {seed} of reactivity"):
        refuse_thawed(other)
    assert scene_digest(other) != scene_digest(scene)
    refuse_thawed(msgspec.structs.replace(other, seed=500_000))


def test_no_test_seed_may_be_trained_on_and_no_two_dimensions_share_one() -> None:
    seen: set[int] = set()
    for name in DIMENSIONS:
        seeds = frozen_seeds(name)
        assert len(seeds) == TRIALS and not seen & set(seeds)
        assert {seed % 10 for seed in seeds} == set(range(10))
        seen |= set(seeds)
        with pytest.raises(UsageError, match="benchmark's tests"):
            refuse_test_seeds(seeds)


@pytest.mark.parametrize("task", ["place", "long"])
def test_the_oracle_does_whole_tasks(task: TaskKind) -> None:
    pytest.importorskip("mujoco")
    pytest.importorskip("mujoco")
    from dvla.benchmarks.dom.episode import run_episode
    from dvla.benchmarks.dom.worker import world_of
    from dvla.runtime.oracle.policy import OraclePolicy

    config = CellConfig(dimension="sequencing", task_kind=task, latency=Latency(median_ms=0))
    world = world_of(config)
    result = run_episode(config, OraclePolicy(), world, 40_001)
    assert result.outcome == "success", result
    assert result.environment == 1 and result.instruction == world.spec.instruction
    assert result.motion_s is not None and 1.0 < result.motion_s < result.completion_s
    assert result.jerk_p95 is not None and result.jerk_p95 > 0
    again = run_episode(config, OraclePolicy(), world_of(config), 40_001)
    assert msgspec.json.encode(again) == msgspec.json.encode(result)


def test_tasks_and_trials_of_a_dimension() -> None:
    assert own_task("sequencing") == "long" and own_task("motion") == "pick"
    cell = dimension_cell(CellConfig(), "spatial", 200)
    assert cell.config.dimension == "spatial" and cell.first_seed == frozen_seeds("spatial").start
    with pytest.raises(UsageError, match="at most 200"):
        dimension_cell(CellConfig(), "spatial", 201)


def episode(seed: int, motion_s: float | None) -> EpisodeResult:
    success = motion_s is not None
    return EpisodeResult(
        seed=seed, kind="ball", speed=0.3, outcome="success" if success else "timeout",
        success=success, completion_s=3.0, path_m=1.0, inferences=10, chunks_merged=9,
        actions_stale=4, actions_executed=12, underruns=1, seam_max_m=0.01, accepted=100,
        rejected=0, rejected_by={}, stops=0, saturated_ticks=0, observation_age_p50_s=0.2,
        observation_age_max_s=0.3, tracking_max_m=0.01, environment=seed % 10,
        instruction="pick up the red ball", motion_s=motion_s, jerk_p95=100.0,
    )  # fmt: skip


def report(cell: Cell) -> CampaignReport:
    times = [2.0, 4.0, None, None]
    episodes = [episode(cell.first_seed + i, times[i]) for i in range(cell.trials)]
    return summarise(cell, episodes, "command", describe_machine())


def test_the_table_has_every_metric() -> None:
    table = dimensions_table({"motion": report(dimension_cell(CellConfig(), "motion", 4))})
    line = table.splitlines()[2]
    for text in ("motion | pick", "2 of 4 = 50% (15% to 85%)", "25% in 3 s", "1.00 m", "3.0 s",
                 "0.20 s", "25% / 4", "10 mm", "100 m/s3"):  # fmt: skip
        assert text in line, line


def test_reports_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    cell = dimension_cell(CellConfig(), "motion", 4)
    path = tmp_path / "motion.json"
    path.write_bytes(msgspec.json.encode(report(cell)))

    def run(trials: int) -> object:
        return run_dimensions(
            ("motion",), CellConfig(), tmp_path, task=None, trials=trials, workers=1,
            command=lambda cell: "", progress=lambda result: None,
        )  # fmt: skip

    assert run(4) == {"motion": report(cell)}
    with pytest.raises(UsageError, match="holds another cell"):
        run(3)


def test_wrong_dimensions_are_one_paragraph(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, words in (
        (["--dims", "speed"], ("'speed'", "reactivity, adaptation")),
        (["--task-kind", "place"], ("--dims",)),
        (["--dims", "motion", "--first-seed", "3"], ("frozen seeds", "--first-seed")),
        (["--dims", "motion", "--scenes", "training-one"], ("frozen seeds", "--scenes")),
        (["--scenes", "training-one", "--task", "the red can"], ("--scenes", "--task")),
        (["--scenes", "reactivity"], ("reactivity", "training-one")),
    ):
        monkeypatch.setattr(sys, "argv", ["dvla-bench", "dom", "--plain", *flags])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr().err
        assert ended.value.code == 2, told
        assert all(word in told for word in words) and "Traceback" not in told


def test_scenes_of_training_are_played_on_any_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mujoco")
    out = tmp_path / "report.json"
    flags = ["--scenes", "training-one", "--trials", "2", "--first-seed", "47000", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["dvla-bench", "dom", "--plain", *flags, "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    report = msgspec.json.decode(out.read_bytes(), type=CampaignReport)
    assert [episode.seed for episode in report.episodes] == [47000, 47001]
    assert report.cell.config.scene == SceneChoice(family="training-one")
    layout = FRANKA_LAYOUT
    drawn = [draw_scene(seed, report.cell.config.scene, layout) for seed in (47000, 47001)]
    assert [episode.kind for episode in report.episodes] == [scene.kind for scene in drawn]
