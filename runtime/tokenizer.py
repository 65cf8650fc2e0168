"""From an instruction to token ids of a fixed length, and where the tokenizer is found."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import TokenizerError

TOKENIZER_NAME = "tokenizer.json"


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A padded prompt: (max_length,) int64 ids and (max_length,) bool mask, read-only."""

    token_ids: NDArray[np.int64]
    token_mask: NDArray[np.bool_]


def pad_tokens(ids: tuple[int, ...] | list[int], max_length: int, vocab_size: int) -> Prompt:
    """Pad token ids on the right to the fixed length.

    Raises:
        TokenizerError: there are none or too many, or an id lies outside the vocabulary.
    """
    if not 1 <= len(ids) <= max_length:
        raise TokenizerError(
            "A prompt has a wrong number of tokens",
            got=len(ids),
            expected=f"1 to {max_length}",
        )
    outside = [token for token in ids if not 0 <= token < vocab_size]
    if outside:
        raise TokenizerError(
            "Token ids lie outside the model's vocabulary",
            got=outside[:5],
            expected=f"0 to {vocab_size - 1}",
            next_command="use the tokenizer of the checkpoint's vlm_model_name",
        )
    token_ids = np.zeros(max_length, np.int64)
    token_ids[: len(ids)] = ids
    token_mask = np.arange(max_length) < len(ids)
    token_ids.flags.writeable = token_mask.flags.writeable = False
    return Prompt(token_ids=token_ids, token_mask=token_mask)


class PromptEncoder:
    """Turns instructions into padded prompts.

    Args:
        path: a ``tokenizer.json``.
        max_length: fixed length of a prompt; longer ones lose their end.
        vocab_size: of the model's token embedding.
    """

    def __init__(self, path: Path, max_length: int, vocab_size: int) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # The library raises bare Exception for every bad file.
            raise TokenizerError(
                f"{path} is not a tokenizer",
                got=str(error)[:200],
                expected="a tokenizer.json of the tokenizers library",
            ) from error
        # A file may carry settings of its own; the model's fixed length replaces them.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._max_length = max_length
        self._vocab_size = vocab_size

    def encode(self, instruction: str) -> Prompt:
        """Return the padded prompt of an instruction; a line end is added when it has none."""
        text = instruction if instruction.endswith("\n") else instruction + "\n"
        ids = self._tokenizer.encode(text).ids[: self._max_length]
        return pad_tokens(ids, self._max_length, self._vocab_size)


def tokenizer_sha256(path: Path) -> str:
    """Return the sha256 of a tokenizer file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find_tokenizer(given: Path | None, checkpoint_folder: Path | None, vlm_model_name: str) -> Path:
    """Return the ``tokenizer.json`` of a model, looking only on this machine.

    Args:
        given: a file, or a folder that holds one; nothing else is tried then.
        checkpoint_folder: where the checkpoint lies.
        vlm_model_name: Hugging Face name of the language model, looked up in the local cache.

    Raises:
        TokenizerError: there is none; the message says how to get it.
    """
    if given is not None:
        file = given / TOKENIZER_NAME if given.is_dir() else given
        if not file.is_file():
            raise TokenizerError(
                "--tokenizer names no file", got=file, expected="a tokenizer.json, or its folder"
            )
        return file
    beside = checkpoint_folder / TOKENIZER_NAME if checkpoint_folder else None
    if beside and beside.is_file():
        return beside
    cached = cached_tokenizers(vlm_model_name)
    if cached:
        return cached[0]
    raise TokenizerError(
        f"No tokenizer of {vlm_model_name} on this machine",
        got=f"none in {checkpoint_folder} nor in {hub_cache()}",
        next_command=(
            f"hf download {vlm_model_name} {TOKENIZER_NAME} (from huggingface_hub), or copy that "
            f"file from https://huggingface.co/{vlm_model_name} and pass --tokenizer PATH"
        ),
    )


def hub_cache() -> Path:
    """Return the local Hugging Face cache, as HF_HUB_CACHE, HF_HOME or the home folder say."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface" / "hub"


def cached_tokenizers(vlm_model_name: str) -> list[Path]:
    """Return the cached tokenizer files of a model: the main branch's first, then the newest."""
    folder = hub_cache() / f"models--{vlm_model_name.replace('/', '--')}"
    main = folder / "refs" / "main"
    commit = main.read_text().strip() if main.is_file() else ""
    found = list(folder.glob(f"snapshots/*/{TOKENIZER_NAME}"))
    return sorted(found, key=lambda file: (file.parent.name != commit, -file.stat().st_mtime_ns))
