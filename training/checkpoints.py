"""What training leaves on disk: official checkpoints to run, and the state to go on from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from dvla.engines.errors import CheckpointError
from dvla.engines.files import remove_abandoned
from dvla.export.arch import Arch
from dvla.export.checkpoint_io import ARCH_NAME, CONFIG_NAME, write_raw
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import Tensor, torch
from dvla.training.presets import arch_json
from dvla.training.statistics import Statistics

STATE_NAME = "training-state.pt"
STATISTICS_NAME = "statistics.json"
_FROM_WEIGHTS = "begin another training from its weights: --init, and a new --out"


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
    """Return the statistics beside a checkpoint.

    Raises:
        CheckpointError: there are none, or they are damaged.
    """
    path = folder / STATISTICS_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Statistics)
    except (OSError, msgspec.MsgspecError) as error:
        raise CheckpointError(
            f"The statistics of the training cannot be read from {path}",
            got=error.strerror if isinstance(error, OSError) else str(error),
            next_command=_FROM_WEIGHTS,
        ) from error


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write everything that training needs to go on exactly; atomic.

    Raises:
        OSError: the disk is full, or refuses.
    """
    remove_abandoned(folder, STATE_NAME)
    scratch = folder / f".{STATE_NAME}.partial-{os.getpid()}"
    try:
        with scratch.open("wb") as file:
            torch.save(dict(state), file)
        os.replace(scratch, folder / STATE_NAME)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # torch tells it as a fault of its own
            error.__context__.filename = str(scratch)
            raise error.__context__ from None
        raise
    finally:
        scratch.unlink(missing_ok=True)


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
            next_command=_FROM_WEIGHTS,
        ) from error
    return state
