"""Staged episodes become a dataset: tables, films, tasks and statistics, in the order of seeds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dvla.training.lerobot.film import join_films
from dvla.training.lerobot.schema import (
    ACTION,
    CAMERA_KEYS,
    CHUNKS_SIZE,
    FPS,
    OBJECT,
    PATHS,
    STATE,
    Provenance,
    Version,
    info,
)
from dvla.training.lerobot.staging import Staged, seed_folder, steps_of
from dvla.training.lerobot.stats import Stats, added_up, plain, stats_of
from dvla.training.lerobot.tables import (
    write_json,
    write_lines,
    write_rows,
    write_steps,
    write_tasks,
)

MAX_FILM_BYTES = 200 << 20
Columns = dict[str, np.ndarray[Any, Any]]


def assemble(
    root: Path, episodes: Sequence[Staged], out: Path, version: Version, provenance: Provenance
) -> None:
    """Write a dataset.

    Args:
        root: staging folder of the episodes; it is left as it is.
        episodes: successes, in the order in which the dataset holds them.
        out: folder of the dataset; what a killed run left there is replaced.
        version: layout.
        provenance: where it comes from.
    """
    shutil.rmtree(out, ignore_errors=True)
    tasks = list(dict.fromkeys(episode.instruction for episode in episodes))
    columns, stats, first = [], [], 0
    for number, episode in enumerate(episodes):
        columns.append(_columns(root, episode, number, first, tasks.index(episode.instruction)))
        stats.append(_stats(columns[-1], episode))
        first += episode.steps
    if version == "v3.0":
        _write_v3(root, episodes, out, columns, stats, tasks)
    else:
        _write_v2(root, episodes, out, columns, stats, tasks)
    write_json(
        out / "meta/info.json", info(version, provenance.robot, len(episodes), first, len(tasks))
    )
    write_json(out / "meta/dvla.json", msgspec.to_builtins(provenance))


def _columns(root: Path, episode: Staged, number: int, first: int, task: int) -> Columns:
    """Return the rows of an episode, column by column."""
    steps = steps_of(root, episode.seed)
    index = np.arange(len(steps), dtype=np.int64)
    return {
        STATE: steps["state"],
        ACTION: steps["action"],
        OBJECT: steps["object"],
        "timestamp": (index / FPS).astype(np.float32),
        "frame_index": index,
        "episode_index": np.full_like(index, number),
        "index": first + index,
        "task_index": np.full_like(index, task),
    }


def _stats(columns: Columns, episode: Staged) -> dict[str, Stats]:
    """Return the statistics of an episode by feature."""
    numbers = {name: stats_of(values.reshape(len(values), -1)) for name, values in columns.items()}
    films = {
        key: {name: np.array(value, np.float64) for name, value in told.items()}
        for key, told in episode.image_stats.items()
    }
    return {**films, **numbers}


def _write_v2(
    root: Path,
    episodes: Sequence[Staged],
    out: Path,
    columns: list[Columns],
    stats: list[dict[str, Stats]],
    tasks: list[str],
) -> None:
    """Write version 2.1: a table and a film per camera for every episode."""
    data_path, video_path = PATHS["v2.1"]
    for number, episode in enumerate(episodes):
        place = {"episode_index": number, "episode_chunk": number // CHUNKS_SIZE}
        write_steps(out / data_path.format(**place), columns[number])
        for key in CAMERA_KEYS:
            film = out / video_path.format(video_key=key, **place)
            film.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(seed_folder(root, episode.seed) / f"{key}.mp4", film)
    write_lines(
        out / "meta/tasks.jsonl",
        [{"task_index": index, "task": task} for index, task in enumerate(tasks)],
    )
    write_lines(
        out / "meta/episodes.jsonl",
        [
            {"episode_index": number, "tasks": [each.instruction], "length": each.steps}
            for number, each in enumerate(episodes)
        ],
    )
    write_lines(
        out / "meta/episodes_stats.jsonl",
        [
            {"episode_index": number, "stats": {name: plain(s) for name, s in each.items()}}
            for number, each in enumerate(stats)
        ],
    )


def _write_v3(
    root: Path,
    episodes: Sequence[Staged],
    out: Path,
    columns: list[Columns],
    stats: list[dict[str, Stats]],
    tasks: list[str],
) -> None:
    """Write version 3.0: one table, films of many episodes, and where in them each one lies."""
    data_path, video_path = PATHS["v3.0"]
    joined = {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}
    write_steps(out / data_path.format(chunk_index=0, file_index=0), joined)
    write_tasks(out / "meta/tasks.parquet", tasks)
    rows = [_contents(number, each, columns[number]) for number, each in enumerate(episodes)]
    for key in CAMERA_KEYS:
        for file, members in enumerate(_films(root, episodes, key)):
            place = {"chunk_index": file // CHUNKS_SIZE, "file_index": file % CHUNKS_SIZE}
            parts = [seed_folder(root, episodes[n].seed) / f"{key}.mp4" for n in members]
            join_films(parts, out / video_path.format(video_key=key, **place))
            frames = 0
            for number in members:
                after = frames + episodes[number].steps
                rows[number] |= {f"videos/{key}/{name}": at for name, at in place.items()}
                rows[number][f"videos/{key}/from_timestamp"] = frames / FPS
                rows[number][f"videos/{key}/to_timestamp"] = after / FPS
                frames = after
    for row, each in zip(rows, stats, strict=True):
        row |= {
            f"stats/{feature}/{name}": value
            for feature, found in each.items()
            for name, value in plain(found).items()
        }
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
    write_rows(out / "meta/episodes/chunk-000/file-000.parquet", rows)
    total = {name: plain(added_up([each[name] for each in stats])) for name in stats[0]}
    write_json(out / "meta/stats.json", total)


def _contents(number: int, episode: Staged, columns: Columns) -> dict[str, Any]:
    """Return what the table of contents says of an episode's rows."""
    return {
        "episode_index": number,
        "tasks": [episode.instruction],
        "length": episode.steps,
        "data/chunk_index": 0,
        "data/file_index": 0,
        "dataset_from_index": int(columns["index"][0]),
        "dataset_to_index": int(columns["index"][-1]) + 1,
    }


def _films(root: Path, episodes: Sequence[Staged], key: str) -> Iterator[list[int]]:
    """Yield the episodes of each film, by number, none of them much larger than it should be."""
    members: list[int] = []
    size = 0
    for number, episode in enumerate(episodes):
        bytes_ = (seed_folder(root, episode.seed) / f"{key}.mp4").stat().st_size
        if members and size + bytes_ > MAX_FILM_BYTES:
            yield members
            members, size = [], 0
        members.append(number)
        size += bytes_
    yield members
