"""``dvla-collect``: record episodes of the twin with the expert's answer at every step."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import tyro

from dvla.engines.cli_errors import run_main
from dvla.engines.errors import UsageError
from dvla.training.seeds import TRAINING_START


def collect_command(
    out: Path,
    episodes: int = 500,
    policy: str = "expert",
    task: str = "",
    workers: int = 2,
    first_seed: int = TRAINING_START,
    debug: bool = False,
) -> None:
    """Record episodes; run the same command again to go on with what is missing.

    Args:
        out: folder of the episodes.
        episodes: how many.
        policy: "expert", or the folder of a bundle or of a checkpoint, which moves the arm while
            the expert answers; a checkpoint's newest save is taken at every episode.
        task: draw only the objects that it names, as in "pick up the ball".
        workers: processes.
        first_seed: of the first episode; the others follow.
        debug: show tracebacks.
    """
    from dvla.runtime.twin.dependencies import import_mink, import_mujoco
    from dvla.runtime.twin.objects import parse_task
    from dvla.training.collect.campaign import collect
    from dvla.training.collect.frames import EpisodeInfo
    from dvla.training.collect.record import EXPERT

    del debug  # read from the command line where the errors are told
    for name, value in (("--episodes", episodes), ("--workers", workers)):
        if value < 1:
            raise UsageError(f"{name} is out of bounds", got=value, expected="at least 1")
    marks = ("manifest.json", "model.safetensors")
    if policy != EXPERT and not any(Path(policy, mark).is_file() for mark in marks):
        raise UsageError(
            "--policy is neither 'expert' nor a bundle nor a checkpoint",
            got=repr(policy),
            next_command="dvla-export MODEL -o BUNDLE",
        )
    if task:
        parse_task(task)  # a wrong one is said before workers start
    import_mujoco()
    import_mink()
    started_s, fresh = time.perf_counter(), 0

    def progress(info: EpisodeInfo) -> None:
        nonlocal fresh
        fresh += 1
        rate = 3600 * fresh / (time.perf_counter() - started_s)
        print(
            f"{fresh:5d}  seed {info.seed}  {info.kind:4s} {info.speed:.2f} m/s  {info.outcome}"
            f"  {info.steps} steps  {rate:.0f} episodes/h",
            file=sys.stderr,
        )

    seeds = range(first_seed, first_seed + episodes)
    done = collect(out, seeds, policy, workers, progress, task=task)
    outcomes = Counter(info.outcome for info in done.values())
    steps = sum(info.steps for info in done.values())
    print(f"{len(done)} episodes, {steps} steps in {out}: {dict(outcomes)}")


def _body() -> None:
    tyro.cli(collect_command, prog="dvla-collect")


def main() -> None:
    """Run ``dvla-collect``."""
    sys.exit(run_main(_body))


if __name__ == "__main__":
    main()
