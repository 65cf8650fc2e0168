"""The part of ``dvla-collect`` that records LeRobot datasets: progress, rates and the last word."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from dvla.training.lerobot.collect import Wanted, collect_dataset
from dvla.training.lerobot.schema import CAMERA_KEYS, Version
from dvla.training.lerobot.staging import Staged


class Rates:
    """Counts attempts and tells how fast they come.

    Args:
        wanted: successes.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted, self._started_s = wanted, time.perf_counter()
        self.attempts = self.kept = self.frames = 0

    def __call__(self, told: Staged) -> None:
        """Take an attempt and print a line."""
        self.attempts += 1
        self.frames += told.steps * len(CAMERA_KEYS)
        self.kept += told.outcome == "success"
        print(
            f"{self.kept:5d}/{self._wanted}  seed {told.seed}  {told.outcome:12s} {told.steps:3d} "
            f"steps in {told.recorded_s:4.1f} s  {told.instruction}",
            file=sys.stderr,
        )

    def text(self, workers: int) -> str:
        """Return the rates of this run."""
        took_s = max(1e-9, time.perf_counter() - self._started_s)
        return (
            f"{3600 * self.kept / took_s:.0f} kept episodes/h, {self.frames / took_s:.0f} frames/s "
            f"of both cameras with {workers} workers"
        )


def collect_lerobot(
    out: Path,
    version: Version,
    wanted: Wanted,
    episodes: int,
    workers: int,
    ray: str | None,
) -> None:
    """Record a dataset and say what it holds."""
    rates = Rates(episodes)
    made = collect_dataset(out, wanted, episodes, version, workers=workers, ray=ray, progress=rates)
    others = {name: n for name, n in made.attempts.items() if name != "success"}
    left_out = ", ".join(f"{n} {name}" for name, n in others.items()) or "none"
    print(
        f"{len(made.seeds)} episodes, {made.frames} steps in {out} (LeRobot {version}); left out: "
        f"{left_out}"
    )
    if rates.attempts:
        print(rates.text(workers))
    print(f"next: dvla-train --data {out} --out POLICY")
