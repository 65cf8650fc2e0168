"""LeRobot datasets: written whole, the same each time, and read by ours and by theirs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from lerobot_dataset import write_foreign
from staged_episodes import shade, stage

from dvla.benchmarks.pool.work import Work
from dvla.engines.errors import UsageError
from dvla.training.collect.frames import HORIZON, IMAGE_SIZE, map_episode, recorded
from dvla.training.dataset import Episodes
from dvla.training.lerobot import collect as collect_module
from dvla.training.lerobot.collect import Wanted, collect_dataset
from dvla.training.lerobot.imported import as_episodes
from dvla.training.lerobot.record import RecordJob
from dvla.training.lerobot.schema import CAMERA_KEYS, Provenance, Version
from dvla.training.lerobot.staging import begin, staged
from dvla.training.lerobot.stats import added_up, stats_of

pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
pytest.importorskip("av")
WANTED = Wanted(robot="franka", task="pick", first_seed=100_001)
FAILURES = {100_002: "timeout", 100_005: "dropped"}
VERSIONS: tuple[Version, ...] = ("v3.0", "v2.1")


@pytest.fixture(autouse=True)
def _made_up_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pool stage made-up episodes; two at a time, so that some come unasked for."""

    def run_seeds(
        work: Work, seeds: Iterable[int], workers: int, take: Callable[[int, bytes], None], **_: Any
    ) -> None:
        root = Path(msgspec.json.decode(bytes(work.job), type=RecordJob).root)
        source = iter(seeds)
        while batch := [seed for _, seed in zip(range(workers), source, strict=False)]:
            for seed in reversed(batch):
                told = stage(root, seed, FAILURES.get(seed, "success"))
                take(seed, msgspec.json.encode(told))

    monkeypatch.setattr(collect_module, "run_seeds", run_seeds)


def collect(
    out: Path, version: Version = "v3.0", episodes: int = 3, workers: int = 1
) -> Provenance:
    return collect_dataset(
        out, WANTED, episodes, version, workers=workers, progress=lambda told: None
    )


def files(folder: Path) -> dict[str, bytes]:
    """Return all files but the one that tells who made them; they follow from the seeds."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "dvla.json"
    }


def test_only_successes_are_kept_and_the_others_counted(tmp_path: Path) -> None:
    made = collect(tmp_path / "data")
    assert made.seeds == (100_001, 100_003, 100_004)
    assert made.attempts == {"success": 3, "timeout": 1}
    told = json.loads((tmp_path / "data/meta/dvla.json").read_text())
    assert told["convention"]["action"].startswith("absolute")
    assert not (tmp_path / "data.partial").exists()


@pytest.mark.parametrize("version", VERSIONS)
def test_how_many_workers_record_changes_nothing(version: Version, tmp_path: Path) -> None:
    for workers in (1, 4):
        collect(tmp_path / f"{workers}", version, workers=workers)
    first, second = files(tmp_path / "1"), files(tmp_path / "4")
    assert first == second and len(first) > 5


def test_a_killed_collection_goes_on(tmp_path: Path) -> None:
    whole = collect(tmp_path / "whole")
    root = tmp_path / "parts.partial"
    root.mkdir()
    (root / "wanted.json").write_bytes(msgspec.json.encode(WANTED))
    stage(root, 100_001)
    half = begin(root, 100_003)
    (half / "steps.npy").write_bytes(b"half")
    assert list(staged(root)) == [100_001]
    collected: list[int] = []
    made = collect_dataset(
        tmp_path / "parts",
        WANTED,
        3,
        "v3.0",
        workers=1,
        progress=lambda t: collected.append(t.seed),
    )
    assert collected == [100_002, 100_003, 100_004] and made.seeds == whole.seeds
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_what_cannot_be_collected_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        collect(tmp_path / "there")
    root = tmp_path / "other.partial"
    root.mkdir()
    (root / "wanted.json").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(WANTED, first_seed=7))
    )
    with pytest.raises(UsageError, match="another collection"):
        collect(tmp_path / "other")
    for seed in (20_000, 45_000, 19_999):
        wanted = msgspec.structs.replace(WANTED, first_seed=seed)
        with pytest.raises(UsageError, match="reserved"):
            collect_dataset(
                tmp_path / "test", wanted, 3, "v3.0", workers=1, progress=lambda told: None
            )


def test_an_expert_that_never_succeeds_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect_module, "_ATTEMPTS_EACH", 1)
    monkeypatch.setattr(collect_module, "_ATTEMPTS_MORE", 0)
    with pytest.raises(UsageError, match="hardly ever succeeds"):
        collect(tmp_path / "data", episodes=2)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_training_takes_what_was_written(version: Version, tmp_path: Path) -> None:
    made = collect(tmp_path / "data", version)
    inside = as_episodes(tmp_path / "data")
    assert tuple(recorded(inside)) == made.seeds
    for seed in made.seeds:
        steps = map_episode(inside, seed)
        base = 0.01 * (seed % 10)
        assert steps["state"][:, 0] == pytest.approx(base + 0.001 * np.arange(5), abs=1e-6)
        ahead = np.minimum(np.arange(5)[:, None] + np.arange(HORIZON), 4)
        expected = base + 0.001 * ahead + 0.0005
        assert steps["actions"][..., 0] == pytest.approx(expected, abs=1e-6)
        assert (steps["object"] == 0.5).all()
        assert steps["images"].shape[1:] == (len(CAMERA_KEYS), *IMAGE_SIZE, 3)
        for camera in range(len(CAMERA_KEYS)):
            seen = steps["images"][:, camera].mean(axis=(1, 2, 3))
            assert seen == pytest.approx([shade(camera, s) for s in range(5)], abs=3)
        info = recorded(inside)[seed]
        assert info.instruction == f"pick up the {('red', 'blue')[seed % 2]} ball"
    episodes = Episodes([tmp_path / "data"])
    assert len(episodes) == 15 and as_episodes(tmp_path / "data") == inside


def test_a_dataset_of_others_is_taken_without_the_object(tmp_path: Path) -> None:
    foreign = write_foreign(tmp_path / "data", {"action": [7]})
    inside = as_episodes(foreign)
    steps = map_episode(inside, 1_000_001)
    assert np.isnan(steps["object"]).all()
    held_out = Episodes([foreign], held_out=True)
    assert [info.seed for info in held_out.infos] == [1_000_000]
    assert np.isfinite(Episodes([foreign]).statistics().object_mean).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"observation.images.wrist_cam": None}, "other cameras than the policy sees"),
        ({"observation.state": [8]}, r"shape \[8\].*shape \[6\]"),
        ({"action": [6]}, r"action of shape \[6\].*shape \[7\]"),
        ({"action": None}, "no action"),
        ({"fps": 30}, "30 frames per second"),
    ],
)
def test_datasets_that_do_not_fit_are_one_paragraph(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words) as raised:
        as_episodes(write_foreign(tmp_path / "data", {"action": [7], **change}))
    assert "\n" not in str(raised.value)


def test_offsets_in_the_place_of_poses_are_noticed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not look like poses"):
        as_episodes(write_foreign(tmp_path / "data", {"action": [7]}, offsets=True))


def rewrite(root: Path, change: Callable[[list[dict[str, Any]]], None]) -> Path:
    """Change the rows of a dataset's tables in place."""
    for path in root.glob("data/**/*.parquet"):
        table = pq.read_table(path)
        rows = table.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return root


def test_a_value_that_is_no_number_is_named(tmp_path: Path) -> None:
    def spoil(rows: list[dict[str, Any]]) -> None:
        rows[2]["observation.state"][1] = float("nan")

    foreign = rewrite(write_foreign(tmp_path / "data", {"action": [7]}), spoil)
    with pytest.raises(UsageError, match=r"no numbers.*observation.state of episode 0, step 2"):
        as_episodes(foreign)


def test_angles_come_as_every_policy_is_given_them(tmp_path: Path) -> None:
    """Of a dataset with attitudes from -pi to pi, states lie in 0 to 2 pi and actions near them."""
    turns = (-3.1, -0.4, -0.2)

    def turn(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["observation.state"][3:6] = row["action"][3:6] = turns

    steps = map_episode(
        as_episodes(rewrite(write_foreign(tmp_path / "data", {"action": [7]}), turn)), 1_000_001
    )
    wrapped = (2 * np.pi - 3.1, -0.4, 2 * np.pi - 0.2)
    assert np.allclose(steps["state"][:, 3:6], wrapped, atol=1e-6)
    assert np.allclose(steps["actions"][..., 3:6], wrapped, atol=1e-6)


def test_a_damaged_film_or_list_of_seeds_is_one_paragraph(tmp_path: Path) -> None:
    foreign = write_foreign(tmp_path / "data", {"action": [7]})
    film = next(foreign.glob("videos/**/*.mp4"))
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    with pytest.raises(UsageError, match=r"\.mp4 of the LeRobot dataset is missing or damaged"):
        as_episodes(foreign)
    made = collect(tmp_path / "ours")
    fewer = msgspec.structs.replace(made, seeds=made.seeds[1:])
    (tmp_path / "ours/meta/dvla.json").write_bytes(msgspec.json.encode(fewer))
    with pytest.raises(UsageError, match=r"dvla\.json cannot be read. Got 2 seeds of 3 episodes"):
        as_episodes(tmp_path / "ours")


def test_statistics_add_up_to_those_of_all() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(n, 3)) for n in (4, 9, 2)]
    total, whole = added_up([stats_of(part) for part in parts]), stats_of(np.concatenate(parts))
    for name, value in whole.items():
        assert total[name] == pytest.approx(value)


def test_lerobot_itself_loads_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("lerobot.datasets.lerobot_dataset")
    collect(tmp_path / "data")
    data = datasets.LeRobotDataset("local/data", root=tmp_path / "data")
    assert (data.num_episodes, len(data), data.fps) == (3, 15, 25)
    assert data.hf_dataset[7]["action"].shape == (7,)
    assert set(data.meta.tasks.index) == {"pick up the blue ball", "pick up the red ball"}
    assert data.meta.stats["action"]["mean"].shape == (7,)
    shutil.rmtree(tmp_path / "data")
