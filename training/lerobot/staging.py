"""Episodes on their way into a dataset: a folder per seed, whole or not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.training.lerobot.schema import OBJECT_NAMES

STEP = np.dtype(
    [
        ("state", "<f4", (6,)),  # measured TCP [m, rad]
        ("action", "<f4", (7,)),  # absolute [m, rad, -]
        ("object", "<f4", (len(OBJECT_NAMES),)),
    ]
)


class Staged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of a seed.

    Attributes:
        seed: of the episode.
        instruction: as a policy is given it.
        outcome: how it ended; only ``success`` leaves steps and films behind.
        steps: control steps.
        latency_ms: injected while recording.
        recorded_s: wall time that it took.
        image_stats: of every camera, as ``plain`` statistics.
    """

    seed: int
    instruction: str
    outcome: str
    steps: int
    latency_ms: float
    recorded_s: float
    image_stats: dict[str, dict[str, Any]] = {}


def seed_folder(root: Path, seed: int) -> Path:
    """Return where the episode of a seed lies."""
    return root / f"seed-{seed:08d}"


def begin(root: Path, seed: int) -> Path:
    """Return an empty folder to record a seed into; what a killed process left there is gone."""
    folder = root / f".seed-{seed:08d}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def finish(folder: Path, root: Path, told: Staged, steps: NDArray[np.void]) -> None:
    """Put a recorded folder in its place, in one step; a failure keeps its description alone."""
    if told.outcome == "success":
        with (folder / "steps.npy").open("wb") as file:
            np.save(file, steps, allow_pickle=False)
    else:
        for film in folder.glob("*.mp4"):
            film.unlink()
    (folder / "episode.json").write_bytes(msgspec.json.encode(told))
    place = seed_folder(root, told.seed)
    shutil.rmtree(place, ignore_errors=True)
    os.replace(folder, place)


def staged(root: Path) -> dict[int, Staged]:
    """Return what became of the seeds so far, in their order."""
    found = (
        msgspec.json.decode(path.read_bytes(), type=Staged)
        for path in sorted(root.glob("seed-*/episode.json"))
    )
    return {each.seed: each for each in found}


def steps_of(root: Path, seed: int) -> NDArray[np.void]:
    """Return the recorded steps of a success, of dtype ``STEP``."""
    steps: NDArray[np.void] = np.load(seed_folder(root, seed) / "steps.npy", allow_pickle=False)
    return steps
