"""A checkpoint in memory: config, dims and tensors under their official names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from dvla.engines.errors import CheckpointError
from dvla.export.arch import Arch, infer_arch
from dvla.export.checkpoint_io import (
    ARCH_NAME,
    CONFIG_NAME,
    WEIGHTS_NAME,
    Raw,
    read_raw,
    write_raw,
)
from dvla.export.config import PolicyConfig, parse_config
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import Tensor, torch

LISTED = 40
"""How many names of a kind an error lists before it counts the rest."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A policy as it lies on disk.

    Attributes:
        config: the keys that matter for inference.
        config_json: the whole ``config.json``, byte for byte.
        arch: every dim that the tensors imply.
        tensors: by official name, in the order of the model; mapped from the file where possible,
            in the file's own dtypes.
        source: the file that holds the tensors.
        arch_json: the ``arch.json`` that lay beside it, byte for byte.
        metadata: the safetensors header's free-form part.
    """

    config: PolicyConfig
    config_json: bytes
    arch: Arch
    tensors: Mapping[str, Tensor]
    source: Path
    arch_json: bytes | None = None
    metadata: Mapping[str, str] | None = None


def load_checkpoint(path: str | Path, config_path: str | Path | None = None) -> Checkpoint:
    """Read a checkpoint; nothing is ever unpickled but tensors and plain containers.

    Args:
        path: a folder with ``config.json`` and ``model.safetensors``; a ``.safetensors`` or ``.pt``
            with a ``config.json`` beside it; or a ``.pt`` that holds
            ``{"config": ..., "model" | "state_dict": ...}``.
        config_path: the config, where it lies elsewhere; it overrides the others.

    Raises:
        CheckpointError: when the file is missing, damaged, foreign or of an unsupported variant, or
            its tensors are not exactly those of the model; they are listed by name.
    """
    raw = read_raw(Path(path), None if config_path is None else Path(config_path))
    return checkpoint_from_raw(raw)


def checkpoint_from_raw(raw: Raw) -> Checkpoint:
    """Check a file's content against the model that it implies."""
    config = parse_config(raw.config_json, raw.config_source)
    extra = None if raw.arch_json is None else _parse_arch(raw.arch_json, raw.source)
    shapes = {name: tuple(tensor.shape) for name, tensor in raw.tensors.items()}
    arch = infer_arch(shapes, config, extra)
    try:
        expected = expected_tensors(config, arch)
    except (ValueError, RuntimeError, OverflowError) as error:
        raise CheckpointError(
            f"The shapes of the tensors of {raw.source} contradict each other", got=str(error)
        ) from error
    _check_tensors(raw.tensors, expected, raw.source)
    return Checkpoint(
        config=config,
        config_json=raw.config_json,
        arch=arch,
        tensors={name: raw.tensors[name] for name in expected},
        source=raw.source,
        arch_json=raw.arch_json,
        metadata=raw.metadata,
    )


def save_checkpoint(checkpoint: Checkpoint, folder: str | Path) -> Path:
    """Write a checkpoint as an official folder; what was read is written back bit for bit.

    Returns:
        The folder.
    """
    files = {CONFIG_NAME: checkpoint.config_json}
    if checkpoint.arch_json is not None:
        files[ARCH_NAME] = checkpoint.arch_json
    return write_raw(Path(folder), checkpoint.tensors, files, checkpoint.metadata)


def empty_policy(config: PolicyConfig, arch: Arch) -> DynamicVla:
    """Return a policy without storage: names, shapes and dtypes alone."""
    with torch.device("meta"):
        return DynamicVla(config, arch)


def build_policy(checkpoint: Checkpoint) -> DynamicVla:
    """Return the float32 policy, ready for inference.

    float32 tensors are shared with the checkpoint (mapped from its file), not copied.
    """
    policy = empty_policy(checkpoint.config, checkpoint.arch)
    tensors = {
        name: tensor.to(policy.state_dict()[name].dtype)
        if name.endswith("num_batches_tracked")
        else tensor.to(torch.float32)
        for name, tensor in checkpoint.tensors.items()
    }
    policy.load_state_dict(tensors, assign=True)
    return policy.eval().requires_grad_(False)


def load_policy(path: str | Path) -> DynamicVla:
    """Read a checkpoint and return its policy; see ``load_checkpoint`` for the formats."""
    return build_policy(load_checkpoint(path))


def expected_tensors(config: PolicyConfig, arch: Arch) -> dict[str, Tensor]:
    """Return every tensor of the model by official name, in official order, without storage."""
    tensors: dict[str, Tensor] = empty_policy(config, arch).state_dict()
    return tensors


def _parse_arch(text: bytes, source: Path) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise CheckpointError(f"{ARCH_NAME} beside {source} is not JSON", got=str(error)) from error


def _check_tensors(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: Path
) -> None:
    """Compare names, shapes, dtypes and values; report everything at once."""
    shared = [name for name in expected if name in found]
    faults = {
        "missing": [name for name in expected if name not in found],
        "unexpected": [name for name in found if name not in expected],
        "mis-shaped": [
            f"{name} {_shape(found[name])} instead of {_shape(expected[name])}"
            for name in shared
            if found[name].shape != expected[name].shape
        ],
        "of a wrong type": [
            f"{name} {found[name].dtype}"
            for name in shared
            if expected[name].is_floating_point() and not _is_real(found[name])
        ],
        "not finite": [
            name for name in shared if _is_real(found[name]) and not _finite(found[name])
        ],
    }
    text = "; ".join(
        f"{len(names)} {kind}: {_listed(names)}" for kind, names in faults.items() if names
    )
    if text:
        raise CheckpointError(
            f"The tensors of {source} are not those of the model",
            got=text,
            expected=f"{len(expected)} tensors of finite floating-point values, as config.json and"
            f" {WEIGHTS_NAME} of an official checkpoint agree on",
        )


def _is_real(tensor: Tensor) -> bool:
    dense = tensor.layout == torch.strided and not tensor.is_meta
    return dense and tensor.dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def _finite(tensor: Tensor) -> bool:
    """Say whether all values are finite in float32, without a temporary of the tensor's size."""
    if tensor.numel() == 0:
        return True
    low, high = torch.aminmax(tensor)
    return bool(torch.isfinite(low.float()) and torch.isfinite(high.float()))


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    rest = f", and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + rest
