"""A small byte-level BPE for the instructions of a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dvla.export.synthetic_tokenizer import END_OF_TEXT


def train_tokenizer(instructions: Iterable[str], vocab: int, path: Path) -> None:
    """Train a tokenizer and write its ``tokenizer.json``.

    Every byte has a token, so no instruction is ever unknown; those of the dataset get short.

    Args:
        instructions: what to learn merges from; their order changes nothing.
        vocab: size of the vocabulary, at least 257.
        path: of the file.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(set(instructions)), trainer)
    tokenizer.save(str(path))
