"""What training leaves on disk: official checkpoints to run, and the state to go on from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from dvla.engines.errors import CheckpointError
from dvla.export.arch import Arch
from dvla.export.checkpoint_io import ARCH_NAME, CONFIG_NAME, write_raw
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import Tensor, torch
from dvla.training.dataset import Statistics
from dvla.training.presets import arch_json

STATE_NAME = "training-state.pt"
STATISTICS_NAME = "statistics.json"


def set_statistics(policy: DynamicVla, statistics: Statistics) -> None:
    """Put the statistics of a dataset into a policy's normalisation, in place."""
    holders = (
        (policy.normalize_inputs.buffer_observation_state, "state"),
        (policy.normalize_targets.buffer_action, "action"),
        (policy.unnormalize_outputs.buffer_action, "action"),
    )
    for holder, name in holders:
        holder.mean.copy_(torch.tensor(getattr(statistics, f"{name}_mean")))
        holder.std.copy_(torch.tensor(getattr(statistics, f"{name}_std")))


def write_checkpoint(
    folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any], arch: Arch
) -> None:
    """Write an official checkpoint folder; each file appears whole or not at all."""
    files = {CONFIG_NAME: json.dumps(config, indent=4).encode(), ARCH_NAME: arch_json(arch)}
    write_raw(folder, {name: t.contiguous() for name, t in tensors.items()}, files, metadata=None)


def write_statistics(folder: Path, statistics: Statistics) -> None:
    """Write the statistics beside a checkpoint: where its normalisation comes from."""
    content = msgspec.json.format(msgspec.json.encode(statistics), indent=1)
    (folder / STATISTICS_NAME).write_bytes(content + b"\n")


def read_statistics(folder: Path) -> Statistics:
    """Return the statistics beside a checkpoint."""
    return msgspec.json.decode((folder / STATISTICS_NAME).read_bytes(), type=Statistics)


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write everything that training needs to go on exactly; atomic."""
    scratch = folder / f".{STATE_NAME}.partial"
    torch.save(dict(state), scratch)
    os.replace(scratch, folder / STATE_NAME)


def load_state(folder: Path) -> dict[str, Any]:
    """Read what ``save_state`` wrote; tensors and plain containers alone.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    path = folder / STATE_NAME
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(
            f"Training cannot go on from {path}",
            got=str(error)[:200],
            next_command="start it again without --resume",
        ) from error
    return state
