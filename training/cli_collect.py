"""``dvla-collect``: record episodes of the twin with the expert's answer at every step."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Literal

import tyro

from dvla.engines.cli_errors import run_main
from dvla.engines.errors import UsageError
from dvla.runtime.twin.scenes.choice import TrainingScenes
from dvla.training.seeds import TRAINING_START

LONGEST_S = 60.0
LAST_SEED = 10**12


def collect_command(
    out: Path,
    format: Literal["episodes", "lerobot-v3.0", "lerobot-v2.1"] = "episodes",
    robot: str = "franka",
    episodes: int = 500,
    policy: str = "expert",
    task: str = "",
    scenes: TrainingScenes | None = None,
    max_s: float | None = None,
    decoys: float = 0.0,
    workers: int = 2,
    ray: str | None = None,
    first_seed: int = TRAINING_START,
    debug: bool = False,
) -> None:
    """Record episodes; run the same command again to go on with what is missing.

    Args:
        out: folder of the episodes, or of the dataset.
        format: "episodes": the expert's next 20 poses at every step, for dvla-train, failures
            included; or a LeRobot dataset of successes alone, with films of the cameras.
        robot: whose twin: franka or piper.
        episodes: how many; of a LeRobot dataset, how many successes.
        policy: "expert", or the folder of a bundle or of a checkpoint, which moves the arm while
            the expert answers; a checkpoint's newest save is taken at every episode.
        task: "pick", "place", "long" (two objects in order), or draw only the objects that it
            names, as in "pick up the ball".
        scenes: "plain": one object; "training": containers, distractors, lights, textures, a camera
            that is off, forces, instructions that tell the object apart; "training-one": one object
            and at times a second, in such surroundings; "training-wide": those of "training" in
            more colours and forms; "training-second": of two objects in order the first lies in the
            container already. Plain for picking unless asked for; the other tasks need training
            scenes.
        max_s: longer episodes are cut off [s]; by default after 5 s where one object is alone, else
            after the benchmark's limit. A policy that missed tries again in what comes later.
        decoys: share of the expert's episodes in which the arm goes for another thing first (of two
            that are asked for in order also the second), for 0.2 to 1.5 s: otherwise how it moves
            tells which thing is meant, and a policy need not read the instruction to know.
        workers: processes.
        ray: address of a Ray cluster that records a LeRobot dataset: HOST:PORT, auto, or local;
            its nodes must share the folder.
        first_seed: of the first episode; the others follow.
        debug: show tracebacks.
    """
    from dvla.runtime.robots import robot_with_twin
    from dvla.runtime.twin.dependencies import import_mujoco
    from dvla.runtime.twin.scenes.asked import asked_scene
    from dvla.training.collect.campaign import collect
    from dvla.training.collect.frames import EpisodeInfo
    from dvla.training.collect.record import EXPERT

    del debug  # read from the command line where the errors are told
    for name, value in (("--episodes", episodes), ("--workers", workers)):
        if value < 1:
            raise UsageError(f"{name} is out of bounds", got=value, expected="at least 1")
    if not 0 <= first_seed <= LAST_SEED:
        raise UsageError(
            "--first-seed is out of bounds", got=first_seed, expected=f"0 to {LAST_SEED}"
        )
    if max_s is not None and not 0.0 < max_s <= LONGEST_S:
        raise UsageError(
            "--max-s is out of bounds", got=max_s, expected=f"above 0 and at most {LONGEST_S:g} s"
        )
    if not 0.0 <= decoys <= 1.0:
        raise UsageError("--decoys is out of bounds", got=decoys, expected="a share, 0 to 1")
    if decoys and (policy != EXPERT or format != "episodes"):
        raise UsageError(
            "--decoys leads the expert astray, in --format episodes alone",
            got=f"--policy {policy} --format {format}",
            next_command="leave --decoys out",
        )
    marks = ("manifest.json", "model.safetensors")
    if policy != EXPERT and not any(Path(policy, mark).is_file() for mark in marks):
        raise UsageError(
            "--policy is neither 'expert' nor a bundle nor a checkpoint",
            got=repr(policy),
            next_command="dvla-export MODEL -o BUNDLE",
        )
    asked = asked_scene(task, scenes)  # a wrong one is said before workers start
    if decoys and asked.scene is None:
        raise UsageError(
            "--decoys needs other things on the table, and the plain scene has one",
            got=f"--scenes {scenes or 'plain'}",
            expected="scenes with several, as --scenes training",
        )
    robot_with_twin(robot)
    import_mujoco()
    if format != "episodes":
        from dvla.training.lerobot.collect import Wanted
        from dvla.training.lerobot.command import collect_lerobot

        if max_s is not None:
            raise UsageError("--max-s goes with --format episodes", got=f"--format {format}")
        if policy != EXPERT:
            raise UsageError(
                f"--format {format} holds what the expert does; no other policy moves the arm",
                got=f"--policy {policy}",
                next_command="leave --policy out, or record --format episodes",
            )
        version: Literal["v3.0", "v2.1"] = "v3.0" if format == "lerobot-v3.0" else "v2.1"
        wanted = Wanted(robot=robot, task=task, scenes=scenes, first_seed=first_seed)
        collect_lerobot(out, version, wanted, episodes, workers, ray)
        return
    if ray is not None:
        raise UsageError(
            "--ray records LeRobot datasets", expected="--format lerobot-v3.0 or lerobot-v2.1"
        )
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
    done = collect(
        out,
        seeds,
        policy,
        workers,
        progress,
        robot=robot,
        task=task,
        scenes=scenes,
        max_s=max_s,
        decoys=decoys,
    )
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
