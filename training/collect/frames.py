"""Recorded control steps on disk: one structured array per episode, mapped, never unpickled."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.engines.files import write_atomically
from dvla.export.arch import WHOLE, Crop
from dvla.runtime.twin.scene import CAMERAS

CAMERA_WIDTH, CAMERA_HEIGHT = 192, 144
"""Size at which cameras are rendered, and that the exported policy declares [pixel]."""
IMAGE_SIZE = IMAGE_HEIGHT, IMAGE_WIDTH = 64, 96
"""Size of the stored pictures [pixel]."""
CROPS = (Crop(top=0.3, left=0.06, right=0.94), WHOLE)
"""What of each camera's view is stored: of the fixed one the table, so that a thing on it is half
as large again; of the one on the hand all of it."""
HORIZON = 20


def step_dtype(cameras: int, size: tuple[int, int]) -> np.dtype[np.void]:
    """Return the layout of a recorded step with pictures of a size (H, W) [pixel]."""
    return np.dtype(
        [
            ("images", "u1", (cameras, *size, 3)),  # RGB, in the order of the cameras
            ("state", "<f4", (6,)),  # measured TCP [m, rad], rx and rz in [0, 2 pi)
            ("actions", "<f4", (HORIZON, 7)),  # the expert's, absolute [m, rad, -]
            ("object", "<f4", (6,)),  # true position and velocity [m, m/s]; never an input
            ("spots", "<f4", (cameras, 2)),  # its place, right and down in [0, 1] in the crop
        ]
    )


STEP = step_dtype(len(CAMERAS), IMAGE_SIZE)


def in_crop(spot: NDArray[np.float64], crop: Crop) -> NDArray[np.float64]:
    """Return where a spot (2,) of the whole picture, right and down in [0, 1], is in a crop."""
    return (spot - (crop.left, crop.top)) / (crop.right - crop.left, crop.bottom - crop.top)


class EpisodeInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a recorded episode.

    Attributes:
        seed: of the episode.
        instruction: as the policy was given it.
        kind: of object.
        speed: of the object at the start [m/s].
        outcome: how it ended.
        steps: control steps recorded.
        controller: who moved the arm: ``expert``, or the policy's name.
        latency_ms: injected while recording.
        duration_s: wall time that it took.
        scenes: family and task of the scene; empty for the plain pick scene.
        objects: that were to be drawn in the plain scene; any when empty, None where nobody wrote
            it down.
        robot: whose twin; empty where a dataset of others does not say.
    """

    seed: int
    instruction: str
    kind: str
    speed: float
    outcome: str
    steps: int
    controller: str
    latency_ms: float
    duration_s: float
    scenes: str = ""
    objects: str | None = None
    robot: str = "franka"


def write_episode(folder: Path, info: EpisodeInfo, steps: NDArray[np.void]) -> None:
    """Write an episode; the description comes last, so that what has one is whole."""
    stem = folder / f"episode-{info.seed:08d}"
    scratch = stem.with_suffix(".tmp")
    with scratch.open("wb") as file:
        np.save(file, steps, allow_pickle=False)
    os.replace(scratch, stem.with_suffix(".npy"))
    write_atomically(stem.with_suffix(".json"), msgspec.json.encode(info))


def recorded(folder: Path) -> dict[int, EpisodeInfo]:
    """Return the whole episodes of a folder by seed, in the order of their seeds.

    Raises:
        UsageError: a description cannot be read.
    """
    found = {}
    for path in sorted(folder.glob("episode-*.json")):
        try:
            info = msgspec.json.decode(path.read_bytes(), type=EpisodeInfo)
        except msgspec.MsgspecError as error:
            raise UsageError(
                f"{path} is no description of a recorded episode",
                got=str(error),
                next_command="remove that file: dvla-collect then records the episode again",
            ) from error
        found[info.seed] = info
    return found


def map_episode(folder: Path, seed: int, layout: np.dtype[np.void] = STEP) -> NDArray[np.void]:
    """Map the steps of an episode.

    Args:
        folder: of the episodes.
        seed: of the episode.
        layout: that the steps must have.

    Raises:
        UsageError: the file holds something else.
    """
    path = folder / f"episode-{seed:08d}.npy"
    try:
        steps: NDArray[np.void] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read", got=str(error)) from error
    if steps.dtype != layout:
        _, height, width, _ = layout["images"].shape
        raise UsageError(
            f"{path} holds steps of another layout",
            got=str(steps.dtype.names),
            expected=f"{layout.names} with pictures of {width}x{height} pixels",
            next_command="record the episodes again with dvla-collect",
        )
    return steps
