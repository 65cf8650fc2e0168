"""Checkpoint files: which ones there are, how they are read without unpickling, and written."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from dvla.engines.errors import CheckpointError, MissingDependency
from dvla.engines.files import remove_abandoned, write_atomically
from dvla.export.config import encode_config
from dvla.export.torch_ import Tensor, missing_torch, torch

CONFIG_NAME, WEIGHTS_NAME, ARCH_NAME = "config.json", "model.safetensors", "arch.json"
PT_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
COMPILED_PREFIX = "_orig_mod."
PT_CONTENT = 'tensors by name, or {"config": ..., "model" or "state_dict": tensors by name}'


class Raw(msgspec.Struct, frozen=True, kw_only=True):
    """What the files hold, before anything is known about the model.

    ``tensors`` have their official names; ``config_source`` says where the config came from.
    """

    tensors: Mapping[str, Tensor]
    config_json: bytes
    config_source: str
    source: Path
    arch_json: bytes | None
    metadata: Mapping[str, str] | None


def read_raw(path: Path, config_path: Path | None = None) -> Raw:
    """Read the tensors and the config of a checkpoint in any of its forms.

    Raises:
        CheckpointError: when a file is missing, truncated, foreign, or needs unpickling.
    """
    weights = _weights_file(path)
    if weights.suffix == ".safetensors":
        tensors, metadata = _read_safetensors(weights)
        embedded = None
    else:
        tensors, embedded = _read_pt(weights)
        metadata = None
    config_json, config_source = _config(weights, config_path, embedded)
    arch = weights.parent / ARCH_NAME
    return Raw(
        tensors=_official_names(tensors, weights),
        config_json=config_json,
        config_source=config_source,
        source=weights,
        arch_json=_read_bytes(arch) if arch.is_file() else None,
        metadata=metadata,
    )


def write_raw(
    folder: Path,
    tensors: Mapping[str, Tensor],
    files: Mapping[str, bytes],
    metadata: Mapping[str, str] | None,
) -> Path:
    """Write tensors and side files into a folder; each file appears whole or not at all."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder, WEIGHTS_NAME)
    plain = _apart(tensors)
    # The tensors may be mapped from the very file that is replaced, so it is never written into.
    partial = folder / f".{WEIGHTS_NAME}.partial-{os.getpid()}"
    try:
        partial.touch()
        mode = partial.stat().st_mode  # what the user's umask gives; save_file leaves 0600
        save_file(plain, partial, metadata=None if metadata is None else dict(metadata))
        partial.chmod(mode)
        os.replace(partial, folder / WEIGHTS_NAME)
    except SafetensorError as error:
        if f"os error {errno.ENOSPC}" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(partial)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)
    for name, content in files.items():
        write_atomically(folder / name, content)
    return folder


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors of which no two share memory, as the format demands."""
    seen: set[int] = set()
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().contiguous()
        apart[name] = plain.clone() if plain.data_ptr() in seen else plain
        seen.add(plain.data_ptr())
    return apart


def _weights_file(path: Path) -> Path:
    """Return the file that holds the tensors."""
    if path.is_dir():
        weights = path / WEIGHTS_NAME
        if weights.is_file():
            return weights
        suffixes = (".safetensors", *PT_SUFFIXES)
        others = sorted(f.name for f in path.iterdir() if f.suffix in suffixes)
        raise CheckpointError(
            f"{path} holds no {WEIGHTS_NAME}",
            got="other weight files" if others else "no weight file at all",
            choices=others,
            next_command=f"pass one of them: {path / others[0]}" if others else None,
        )
    if not path.is_file():
        raise CheckpointError(
            f"There is no checkpoint {path}",
            expected=f"a folder with {CONFIG_NAME} and {WEIGHTS_NAME}, a .safetensors or a .pt",
        )
    if path.suffix not in (".safetensors", *PT_SUFFIXES):
        raise CheckpointError(
            f"{path} is not a checkpoint",
            got=f"suffix {path.suffix!r}",
            choices=("a folder", ".safetensors", *PT_SUFFIXES),
        )
    return path


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str] | None]:
    """Map the tensors of a safetensors file into memory; nothing is copied."""
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "Reading a checkpoint needs safetensors, which is not installed",
            next_command="pip install 'dvla[export]'",
        ) from error
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise _damaged(path, "a safetensors file", error) from error


def _read_pt(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Return the state dict of a torch file, and the config that lies beside it in the file."""
    content = _torch_load(path)
    config = None
    if isinstance(content, Mapping):
        inner = next((content[key] for key in ("model", "state_dict") if key in content), None)
        if isinstance(inner, Mapping):
            content, config = inner, content.get("config")
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"{path} holds no state dict",
            got=type(content).__name__,
            expected=PT_CONTENT,
        )
    wrong = [str(key) for key, value in content.items() if not torch.is_tensor(value)]
    if wrong or not all(isinstance(key, str) for key in content):
        raise CheckpointError(
            f"{path} holds no state dict",
            got=f"entries that are no tensors: {', '.join(wrong[:8])}",
            expected=PT_CONTENT,
        )
    return {name: tensor.detach() for name, tensor in content.items()}, config


def _torch_load(path: Path) -> Any:
    """Load a torch file with its restricted reader, which knows tensors and containers only."""
    if not hasattr(torch, "load"):
        raise missing_torch()
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
        # Only the zip format can be mapped; older files are read into memory.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # the reader's errors are of many classes, none documented
        raise _damaged(path, "a torch file of tensors and plain containers", error) from error


def _damaged(path: Path, kind: str, error: Exception) -> CheckpointError:
    first_line = (str(error).strip().splitlines() or [""])[0]
    return CheckpointError(
        f"{path} cannot be read: it is truncated, damaged or not {kind}",
        got=f"{type(error).__name__}: {first_line[:300]}",
        next_command="copy or download it again, and compare its size and checksum",
    )


def _config(weights: Path, given: Path | None, embedded: Any) -> tuple[bytes, str]:
    """Return the config's text and where it came from: given, in the file, or beside it."""
    if given is not None:
        return _read_bytes(given), str(given)
    if isinstance(embedded, Mapping):
        try:
            return encode_config(dict(embedded)), f"the config in {weights}"
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"The config in {weights} is not plain data") from error
    if isinstance(embedded, str):
        return embedded.encode(), f"the config in {weights}"
    beside = weights.parent / CONFIG_NAME
    if not beside.is_file():
        raise CheckpointError(
            f"{weights} has no config",
            expected=f"{CONFIG_NAME} in {weights.parent}",
            next_command=f"copy the {CONFIG_NAME} of the training run to {beside}",
        )
    return _read_bytes(beside), str(beside)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read", got=str(error)) from error


def _official_names(tensors: Mapping[str, Tensor], source: Path) -> dict[str, Tensor]:
    """Undo the prefix that ``torch.compile`` puts before the names of what it wraps."""
    named = {name.replace(COMPILED_PREFIX, ""): tensor for name, tensor in tensors.items()}
    if len(named) < len(tensors):
        twice = [
            n for n in tensors if COMPILED_PREFIX in n and n.replace(COMPILED_PREFIX, "") in tensors
        ]
        raise CheckpointError(
            f"{source} holds tensors twice, with and without {COMPILED_PREFIX!r}",
            got=", ".join(twice[:8]),
        )
    return named
