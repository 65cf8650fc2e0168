"""Observations of the twin as a file, on which ``dvla-export --observations`` judges an engine.

    python -m dvla.training.collect.observations --checkpoint MODEL --out observations.npz

A trained policy means something on what it was trained for. On made-up frames its flow may stand
at a decision's edge, where the last bit of an arithmetic decides what the gripper does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.dom.cameras import keep_pictures
from dvla.benchmarks.dom.episode import ClosedLoop
from dvla.benchmarks.dom.result import CellConfig
from dvla.benchmarks.dom.worker import world_of
from dvla.engines.bundle import TOKENIZER_NAME
from dvla.engines.cli_errors import run_main
from dvla.export.checkpoint import load_checkpoint
from dvla.export.config import PolicyConfig
from dvla.runtime.chunk import Chunk
from dvla.runtime.observation import Observation
from dvla.runtime.oracle.policy import OraclePolicy
from dvla.runtime.pose import state_input
from dvla.runtime.tokenizer import PromptEncoder
from dvla.runtime.twin.bodies import BODIES
from dvla.runtime.twin.renderer import TwinRenderer
from dvla.training.pictures import Pictures
from dvla.training.seeds import TRAINING_START

_FIRST_SEED = TRAINING_START - 1_000
_SPACING = 7


class Witness(OraclePolicy):
    """The oracle, which keeps every few observations that it is asked about.

    Args:
        history_steps: observed, as those of the policy that the observations are for.
    """

    def __init__(self, history_steps: tuple[int, ...]) -> None:
        super().__init__()
        self.history_steps = history_steps
        self.kept: list[Observation] = []
        self._asked = 0

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        """Return the oracle's chunk."""
        if self._asked % _SPACING == 0:
            self.kept.append(observation)
        self._asked += 1
        return super().predict(observation, noise, seed)


def record_observations(
    count: int, history_steps: tuple[int, ...], camera: tuple[int, int], robot: str = "franka"
) -> list[Observation]:
    """Play the oracle's episodes on a robot's twin and return some of their observations.

    Args:
        count: of the observations.
        history_steps: of the policy that they are for.
        camera: (H, W) of the frames [pixel].
        robot: whose twin.
    """
    height, width = camera
    renderer = TwinRenderer(width=width, height=height)
    config = CellConfig(robot=robot)
    witness, world, seed = Witness(history_steps), world_of(config), _FIRST_SEED
    while len(witness.kept) < count:
        loop = ClosedLoop(config, witness, world, seed, keep_pictures(renderer.picture))
        try:
            loop.run()
        finally:
            loop.close()
        seed += 1
    renderer.close()
    return witness.kept[:count]


def arrays_of(
    observations: list[Observation], config: PolicyConfig, encoder: PromptEncoder
) -> dict[str, NDArray[np.generic]]:
    """Return observations as the arrays that an export compares engines on."""
    prompts = [encoder.encode(each.instruction) for each in observations]
    shape = (len(observations), config.chunk_size, config.max_action_dim)
    noise = np.random.default_rng(0).standard_normal(shape, np.float32)
    frames = [np.stack([each.images[key] for key in config.image_keys]) for each in observations]
    return {
        "frames": np.stack(frames),
        "token_ids": np.stack([prompt.token_ids for prompt in prompts]),
        "token_mask": np.stack([prompt.token_mask for prompt in prompts]),
        "state": np.stack([state_input(each.state, config.state_dim) for each in observations]),
        "noise": noise,
    }


def main() -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="its tokenizer is used")
    parser.add_argument("--out", type=Path, required=True, help="the .npz")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--robot", default="franka", choices=sorted(BODIES))
    asked = parser.parse_args()
    checkpoint = load_checkpoint(asked.checkpoint)
    config = checkpoint.config
    encoder = PromptEncoder(
        asked.checkpoint / TOKENIZER_NAME, config.tokenizer_max_length, checkpoint.arch.vocab
    )
    camera = Pictures.of(config, checkpoint.arch).camera
    history_steps = config.delta_timestamps.observation
    seen = record_observations(asked.count, history_steps, camera, asked.robot)
    arrays = arrays_of(seen, config, encoder)
    np.savez_compressed(asked.out, **arrays)  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
