"""A small dataset in LeRobot's two layouts, written by hand: films, tables, tables of contents."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dvla.training.lerobot.schema import CAMERA_KEYS

FPS, LENGTHS = 25, (6, 9)
TASKS = ("lift the red cube", "put the cube into the box")
WIDTH, HEIGHT = 32, 32


def grey(episode: int, step: int) -> int:
    """Return the shade of the frame of a step, which tells it from every other one."""
    return 20 + 100 * episode + 10 * step


def write_dataset(
    root: Path, cameras: tuple[str, ...], size: tuple[int, int], state_width: int, version: str
) -> Path:
    """Write two short episodes.

    Args:
        root: folder to make.
        cameras: keys of the films.
        size: width and height of the frames [pixels].
        state_width: numbers of one state.
        version: ``v2.1`` or ``v3.0``.
    """
    (root / "meta").mkdir(parents=True)
    whole = version == "v3.0"
    place = "chunk-{chunk_index:03d}/file-{file_index:03d}"
    of_episode = "chunk-{episode_chunk:03d}/episode_{episode_index:06d}"
    videos = "videos/{video_key}/" + place if whole else "videos/{video_key}-" + of_episode
    info = {
        "codebase_version": version,
        "robot_type": "franka",
        "fps": FPS,
        "total_episodes": len(LENGTHS),
        "chunks_size": 1000,
        "data_path": f"data/{place if whole else of_episode}.parquet",
        "video_path": f"{videos}.mp4",
        "features": {
            "observation.state": {"dtype": "float32", "shape": [state_width], "names": None},
            **{
                key: {"dtype": "video", "shape": [size[1], size[0], 3], "names": ["h", "w", "c"]}
                for key in cameras
            },
        },
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    rows = [_rows(episode, state_width) for episode in range(len(LENGTHS))]
    shades = [[grey(e, step) for step in range(n)] for e, n in enumerate(LENGTHS)]
    if whole:
        first = {"chunk_index": 0, "file_index": 0}
        _table(root / info["data_path"].format(**first), list(chain.from_iterable(rows)))  # type: ignore[attr-defined]
        for key in cameras:
            path = root / info["video_path"].format(video_key=key, **first)  # type: ignore[attr-defined]
            _film(path, list(chain.from_iterable(shades)), size)
        tasks = [{"task_index": i, "__index_level_0__": task} for i, task in enumerate(TASKS)]
        _table(root / "meta/tasks.parquet", tasks)
        _table(root / "meta/episodes/chunk-000/file-000.parquet", _contents(cameras))
        return root
    for episode, length in enumerate(LENGTHS):
        told = {"episode_chunk": 0, "episode_index": episode}
        _table(root / info["data_path"].format(**told), rows[episode])  # type: ignore[attr-defined]
        for key in cameras:
            path = root / info["video_path"].format(video_key=key, **told)  # type: ignore[attr-defined]
            _film(path, shades[episode], size)
        with (root / "meta/episodes.jsonl").open("a") as file:
            file.write(json.dumps({"episode_index": episode, "length": length}) + "\n")
    tasks_file = root / "meta/tasks.jsonl"
    lines = [json.dumps({"task_index": i, "task": task}) for i, task in enumerate(TASKS)]
    tasks_file.write_text("\n".join(lines) + "\n")
    return root


def _rows(episode: int, state_width: int) -> list[dict[str, Any]]:
    return [
        {
            "observation.state": [float(10 * episode + step)] * state_width,
            "task_index": episode,
            "episode_index": episode,
            "timestamp": step / FPS,
        }
        for step in range(LENGTHS[episode])
    ]


def _contents(cameras: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = []
    for episode, length in enumerate(LENGTHS):
        row: dict[str, Any] = {"episode_index": episode, "length": length}
        row |= {"data/chunk_index": 0, "data/file_index": 0}
        for key in cameras:
            row |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": 0}
            row[f"videos/{key}/from_timestamp"] = sum(LENGTHS[:episode]) / FPS
        rows.append(row)
    return rows


def _table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def _film(path: Path, shades: list[int], size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10", "g": "4"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for step, shade in enumerate(shades):
            picture = np.full((size[1], size[0], 3), shade, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = step, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_foreign(
    root: Path,
    features: dict[str, Any],
    *,
    offsets: bool = False,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Path:
    """Write another recorder's dataset, with some features changed or left out.

    Args:
        root: folder to make.
        features: shapes by name; None leaves one out; ``fps`` is the rate.
        offsets: actions are relative to the state.
        size: width and height of the frames [pixels].
    """
    write_dataset(root, CAMERA_KEYS, size, 6, "v3.0")
    told = json.loads((root / "meta/info.json").read_text())
    told["fps"] = features.pop("fps", told["fps"])
    for name, shape in features.items():
        if shape is None:
            told["features"].pop(name, None)
        else:
            told["features"].setdefault(name, {"dtype": "float32"})["shape"] = shape
    (root / "meta/info.json").write_text(json.dumps(told))
    path = root / "data/chunk-000/file-000.parquet"
    table = pq.ParquetFile(path).read()
    states = np.array(table["observation.state"].to_pylist())
    actions = np.pad(states * (0.0 if offsets else 1.0), ((0, 0), (0, 1)))
    pq.write_table(table.append_column("action", pa.array(actions.tolist())), path)
    return root
