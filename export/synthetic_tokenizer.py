"""A tokenizer for synthetic checkpoints: one token per byte, so it fits any vocabulary."""

from __future__ import annotations

from pathlib import Path

from dvla.engines.errors import UsageError

END_OF_TEXT = "<|endoftext|>"


def write_byte_tokenizer(path: Path, vocab: int) -> None:
    """Write a ``tokenizer.json`` whose ids are below ``vocab``: padding 0, then the 256 bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {END_OF_TEXT: 0, **{symbol: i for i, symbol in enumerate(alphabet, start=1)}}
    if len(ids) > vocab:
        raise UsageError(
            "The vocabulary is too small for a byte-level tokenizer",
            got=vocab,
            expected=f"at least {len(ids)}",
        )
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END_OF_TEXT])
    tokenizer.save(str(path))
