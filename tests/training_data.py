"""Recorded episodes made up for tests: plausible numbers, no simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dvla.training.collect.frames import STEP, EpisodeInfo, write_episode


def made_up_episode(folder: Path, seed: int, steps: int = 12) -> None:
    """Write an episode whose hand moves towards a still object."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(steps, STEP)
    target = rng.uniform((0.4, -0.2, 0.02), (0.6, 0.2, 0.03))
    hand = np.array([0.4, 0.0, 0.3])
    for index, row in enumerate(rows):
        hand = hand + 0.1 * (target - hand)
        row["images"] = rng.integers(0, 255, row["images"].shape)
        row["state"] = (*hand, np.pi, 0.0, 0.01)
        fade = np.linspace(0.05, 1.0, len(row["actions"]))[:, None]
        row["actions"][:, :3] = hand + fade * (target - hand)
        row["actions"][:, 3:6] = (np.pi, 0.0, 0.0)
        ahead = index + np.arange(len(row["actions"]))
        row["actions"][:, 6] = np.where(ahead < steps // 2, 1.0, -1.0)
        row["object"][:3] = target
    info = EpisodeInfo(
        seed=seed,
        instruction=f"pick up the {('red', 'blue')[seed % 2]} ball",
        kind="ball",
        speed=0.0,
        outcome="success",
        steps=steps,
        controller="expert",
        latency_ms=0.0,
        duration_s=0.0,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_episode(folder, info, rows)


def made_up_dataset(folder: Path, episodes: int = 4) -> Path:
    """Write some episodes, the first of which is held out."""
    for seed in range(100_000, 100_000 + episodes):
        made_up_episode(folder, seed)
    return folder
