"""What a dataset of ours holds, and what it says of itself."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from dvla.runtime.machine import Machine
from dvla.runtime.twin.scene import CAMERAS, IMAGE_HEIGHT, IMAGE_WIDTH

Version = Literal["v3.0", "v2.1"]
FPS = 25
STATE, ACTION, OBJECT = "observation.state", "action", "privileged.object"
CAMERA_KEYS = tuple(f"observation.images.{name}" for name in CAMERAS)
STATE_NAMES = ("x", "y", "z", "rx", "ry", "rz")
ACTION_NAMES = (*STATE_NAMES, "gripper")
OBJECT_NAMES = ("x", "y", "z", "vx", "vy", "vz")
CHUNKS_SIZE = 1000
"""Files per folder."""
PATHS: dict[Version, tuple[str, str]] = {
    "v3.0": (
        "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    ),
    "v2.1": (
        "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    ),
}
CONVENTIONS = {
    "action": "absolute: the expert's commanded pose for the control period that begins at the "
    "frame (rate-limited), asked of the state at the frame whoever moved the arm; a chunk of the "
    "policy is the actions of consecutive frames, its first six columns less the state of its "
    "first frame (use_delta_action)",
    "frame": "robot base, position of the TCP [m], extrinsic xyz Euler angles [rad]; rx and rz of "
    "the state in [0, 2 pi), of the action near the state's",
    "gripper": "+1 open, -1 closed",
    OBJECT: "true position [m] and velocity [m/s] of the object: for helpers of a training alone, "
    "never an input of a policy",
}


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``meta/dvla.json``: where a dataset comes from and what its numbers mean.

    Attributes:
        attempts: episodes by outcome, among the seeds up to the last one kept; only ``success`` is
            in the dataset.
        seeds: of the episodes, in their order.
        latencies_ms: injected while recording, by episode.
        frames: control steps kept.
        recorded_s: duration of all recording processes together [s]: a measure of its cost.
    """

    schema: int = 1
    robot: str
    task: str
    convention: dict[str, str]
    control_period_s: float = 1.0 / FPS
    attempts: dict[str, int]
    seeds: tuple[int, ...]
    latencies_ms: tuple[float, ...]
    frames: int
    recorded_s: float
    machine: Machine


def features() -> dict[str, dict[str, Any]]:
    """Return the columns and films of a dataset, as ``meta/info.json`` lists them."""

    def numbers(names: tuple[str, ...]) -> dict[str, Any]:
        return {"dtype": "float32", "shape": [len(names)], "names": list(names)}

    def index(dtype: str) -> dict[str, Any]:
        return {"dtype": dtype, "shape": [1], "names": None}

    film = {
        "dtype": "video",
        "shape": [IMAGE_HEIGHT, IMAGE_WIDTH, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": IMAGE_HEIGHT,
            "video.width": IMAGE_WIDTH,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": FPS,
            "video.channels": 3,
            "has_audio": False,
        },
    }
    return {
        **dict.fromkeys(CAMERA_KEYS, film),
        STATE: numbers(STATE_NAMES),
        ACTION: numbers(ACTION_NAMES),
        OBJECT: numbers(OBJECT_NAMES),
        "timestamp": index("float32"),
        "frame_index": index("int64"),
        "episode_index": index("int64"),
        "index": index("int64"),
        "task_index": index("int64"),
    }


def info(version: Version, robot: str, episodes: int, frames: int, tasks: int) -> dict[str, Any]:
    """Return ``meta/info.json``."""
    data_path, video_path = PATHS[version]
    found: dict[str, Any] = {
        "codebase_version": version,
        "robot_type": robot,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": CHUNKS_SIZE,
        "fps": FPS,
        "splits": {"train": f"0:{episodes}"},
        "data_path": data_path,
        "video_path": video_path,
        "features": features(),
    }
    if version == "v2.1":
        found["total_videos"] = episodes * len(CAMERA_KEYS)
        found["total_chunks"] = -(-episodes // CHUNKS_SIZE)
    else:
        found["data_files_size_in_mb"], found["video_files_size_in_mb"] = 100, 200
    return found
