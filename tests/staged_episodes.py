"""Staged episodes made up for tests: an arm on a line, pictures whose shade tells the step."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dvla.training.lerobot.film import FilmWriter
from dvla.training.lerobot.schema import CAMERA_KEYS
from dvla.training.lerobot.staging import STEP, Staged, begin, finish
from dvla.training.lerobot.stats import ImageStats, plain


def shade(camera: int, step: int) -> int:
    """Return the grey of a camera's picture at a step."""
    return 30 + 80 * camera + 12 * step


def stage(root: Path, seed: int, outcome: str = "success", steps: int = 5) -> Staged:
    """Stage an episode whose state and actions tell seed and step."""
    folder = begin(root, seed)
    looks = [ImageStats() for _ in CAMERA_KEYS]
    for camera, (key, look) in enumerate(zip(CAMERA_KEYS, looks, strict=True)):
        film = FilmWriter(folder / f"{key}.mp4")
        for step in range(steps):
            image_hwc = np.full((48, 64, 3), shade(camera, step), np.uint8)
            film.add(image_hwc)
            look.add(image_hwc)
        film.close()
    rows = np.zeros(steps, STEP)
    rows["state"] = 0.01 * (seed % 10) + 0.001 * np.arange(steps)[:, None]
    rows["action"] = rows["state"][:, [0, 1, 2, 3, 4, 5, 5]] + 0.0005
    rows["object"] = 0.5
    told = Staged(
        seed=seed,
        instruction=f"pick up the {('red', 'blue')[seed % 2]} ball",
        outcome=outcome,
        steps=steps,
        latency_ms=40.0,
        recorded_s=1.0,
        image_stats={
            key: plain(look.result()) for key, look in zip(CAMERA_KEYS, looks, strict=True)
        },
    )
    finish(folder, root, told, rows)
    return told
