"""The nano policy's tokenizer: every instruction of the benchmark fits, most words are a token."""

from __future__ import annotations

from pathlib import Path

from dvla.runtime.tokenizer import PromptEncoder
from dvla.runtime.twin.scenes.language import sentences
from dvla.training.presets import NANO_VOCAB, TOKENS
from dvla.training.tokenizer import train_tokenizer


def test_every_instruction_fits_into_the_prompt(tmp_path: Path) -> None:
    path, texts = tmp_path / "tokenizer.json", list(sentences())
    train_tokenizer(texts, NANO_VOCAB, path)
    encoder = PromptEncoder(path, 2 * TOKENS, NANO_VOCAB)
    for text in texts:
        assert encoder.encode(text).token_mask.sum() <= TOKENS
    short = encoder.encode("pick up the purple bottle")
    assert short.token_mask.sum() == 6  # the end of the line is one too


def test_a_word_that_no_instruction_has_is_still_encoded(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    train_tokenizer(sentences(), NANO_VOCAB, path)
    prompt = PromptEncoder(path, TOKENS, NANO_VOCAB).encode("weigh the zebra")
    assert 1 < prompt.token_mask.sum() < TOKENS
