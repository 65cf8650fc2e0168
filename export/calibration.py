"""Real observations for the gate: of a LeRobot dataset, or of a run folder of ``dvla-run``.

The same folder always gives the same observations: steps spread evenly over everything recorded,
and noise from a fixed seed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dvla.engines.errors import UsageError
from dvla.engines.manifest import PolicyFacts
from dvla.export.reference import Reference
from dvla.runtime.pose import state_input
from dvla.runtime.recordings.lerobot import LeRobotDataset
from dvla.runtime.recordings.lerobot_tables import INFO_NAME
from dvla.runtime.recordings.run_film import RunFilm
from dvla.runtime.tokenizer import PromptEncoder

CASES = 32
_RUN_MANIFEST = "manifest.json"


def load_calibration(
    path: Path, facts: PolicyFacts, encoder: PromptEncoder, cases: int = CASES
) -> Reference:
    """Read observations for the gate.

    Args:
        path: of a LeRobot dataset (v2.1 or v3.0) or of a run folder.
        facts: cameras, frame size, history and state of the policy.
        encoder: of the instructions.
        cases: observations to take; fewer when fewer steps were recorded.

    Returns:
        A reference whose ``actions`` are empty.

    Raises:
        UsageError: the folder is neither, was recorded with another robot, or is damaged.
        MissingDependency: what reads it is not installed.
    """
    source: LeRobotDataset | RunFilm
    if (path / INFO_NAME).is_file():
        source = LeRobotDataset(path, facts)
    elif (path / _RUN_MANIFEST).is_file():
        source = RunFilm(path, facts)
    else:
        raise UsageError(
            f"--calibration {path} holds no observations",
            got="a folder without " + INFO_NAME if path.is_dir() else "no folder",
            expected="a LeRobot dataset (v2.1 or v3.0), or a run folder of dvla-run",
        )
    frames, states, instructions = zip(*source.observations(cases), strict=True)
    prompts = [encoder.encode(text) for text in instructions]
    random = np.random.Generator(np.random.PCG64(0))
    found, chunk = len(frames), (facts.chunk_size, facts.max_action_dim)
    empty = np.zeros((found, facts.chunk_size, len(facts.action_names)), np.float32)
    return Reference(
        source="recorded",
        origin=f"{source.description}, {found} observations",
        frames=np.stack(frames),
        token_ids=np.stack([prompt.token_ids for prompt in prompts]),
        token_mask=np.stack([prompt.token_mask for prompt in prompts]),
        state=np.stack([state_input(seen, facts.state_input_width) for seen in states]),
        noise=random.standard_normal((found, *chunk), np.float32),
        prev_actions=empty,
        prev_weight=np.zeros((found, facts.chunk_size), np.float32),
        actions=empty[:0],
    )
