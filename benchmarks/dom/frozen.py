"""The frozen test scenes: which seeds a dimension has, and what they must draw.

    python -m dvla.benchmarks.dom.frozen --check     # draw all scenes, compare with the record
    python -m dvla.benchmarks.dom.frozen --write     # make the record: a new benchmark

Either takes ``--robot``: the Franka's record is ``frozen.json``, the PiPER's ``frozen-piper.json``.
It holds the environments of every dimension and a digest of every scene of its own task. A scene
that has another digest is not the benchmark's: workers refuse it before they run it. Other tasks
draw from the same seeds and environments, without a digest.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from functools import lru_cache
from pathlib import Path

import msgspec

from dvla.engines.cli_errors import run_main
from dvla.runtime.errors import ConfigError
from dvla.runtime.twin.bodies import BODIES, twin_body
from dvla.runtime.twin.layout import TableLayout
from dvla.runtime.twin.scenes.choice import DIMENSIONS, Dimension, SceneChoice, TaskKind
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.scenes.environment import ENVIRONMENTS, Environment, draw_environment
from dvla.runtime.twin.scenes.spec import SceneSpec

FIRST_SEED = 21_000
TRIALS = 200
"""Ten environments (the last digit of the seed) of twenty trials each."""
RECORD = Path(__file__).with_name("frozen.json")


def record_of(robot: str) -> Path:
    """Return the file of an arm's record."""
    return RECORD if robot == "franka" else RECORD.with_name(f"frozen-{robot}.json")


class FrozenDimension(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dimension's list.

    Attributes:
        first_seed: of ``TRIALS``, in order.
        environments: by the last digit of the seed.
        task: its own.
        scenes: the digests of its scenes in the order of the seeds, 8 letters each.
    """

    first_seed: int
    environments: tuple[Environment, ...]
    task: TaskKind
    scenes: str


def own_task(dimension: Dimension) -> TaskKind:
    """Return the task that a dimension is run with unless another is asked for."""
    return "long" if dimension == "sequencing" else "pick"


def frozen_seeds(dimension: Dimension) -> range:
    """Return the test seeds of a dimension."""
    first = FIRST_SEED + TRIALS * DIMENSIONS.index(dimension)
    return range(first, first + TRIALS)


def scene_digest(scene: SceneSpec) -> str:
    """Return eight letters that any other drawing of the seed would change."""
    return hashlib.sha256(msgspec.json.encode(scene)).hexdigest()[:8]


@lru_cache(maxsize=4)
def read_record(robot: str = "franka") -> dict[Dimension, FrozenDimension]:
    """Return the record of the repository for an arm.

    Raises:
        ConfigError: the benchmark has no frozen scenes for it.
    """
    path = record_of(robot)
    if not path.is_file():
        raise ConfigError(
            f"the benchmark has no frozen scenes for the {robot}",
            choices=[name for name in sorted(BODIES) if record_of(name).is_file()],
        )
    return msgspec.json.decode(path.read_bytes(), type=dict[Dimension, FrozenDimension])


def refuse_thawed(scene: SceneSpec, robot: str = "franka") -> None:
    """Raise a ConfigError when a test seed draws another scene than an arm's record has."""
    name = next((each for each in DIMENSIONS if each == scene.choice.family), None)
    if name is None or scene.seed not in frozen_seeds(name) or scene.choice.task != own_task(name):
        return
    index = scene.seed - frozen_seeds(name).start
    wanted = read_record(robot)[name].scenes[8 * index : 8 * index + 8]
    if scene_digest(scene) != wanted:
        raise ConfigError(
            "A test seed of the benchmark draws another scene than the frozen one",
            got=f"seed {scene.seed} of {name}, {scene.choice.task}: {scene_digest(scene)}",
            expected=f"{wanted}, as recorded in {record_of(robot).name}",
            next_command=f"python -m dvla.benchmarks.dom.frozen --check --robot {robot}",
        )


def draw_record(robot: str = "franka") -> dict[Dimension, FrozenDimension]:
    """Draw everything: what an arm's record should be."""
    layout = twin_body(robot).layout
    return {name: _dimension(name, layout) for name in DIMENSIONS}


def _dimension(name: Dimension, layout: TableLayout) -> FrozenDimension:
    choice = SceneChoice(family=name, task=own_task(name))
    digests = (scene_digest(draw_scene(seed, choice, layout)) for seed in frozen_seeds(name))
    return FrozenDimension(
        first_seed=frozen_seeds(name).start,
        environments=tuple(draw_environment(name, index, layout) for index in range(ENVIRONMENTS)),
        task=choice.task,
        scenes="".join(digests),
    )


def main() -> int:
    """Check the record or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true")
    what.add_argument("--write", action="store_true")
    parser.add_argument("--robot", default="franka", choices=sorted(BODIES))
    asked = parser.parse_args()
    drawn = draw_record(asked.robot)
    if asked.write:
        record_of(asked.robot).write_bytes(
            msgspec.json.format(msgspec.json.encode(drawn), indent=1) + b"\n"
        )
        return 0
    changed = [name for name in DIMENSIONS if read_record(asked.robot)[name] != drawn[name]]
    print(f"changed: {', '.join(changed)}" if changed else "as recorded")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
