"""Where a tokenizer is found, and how an instruction becomes a prompt of fixed length."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from bundle_tools import tokenizer

from dvla.engines.errors import TokenizerError
from dvla.runtime.tokenizer import PromptEncoder, find_tokenizer, hub_cache, pad_tokens

NAME = "HuggingFaceTB/SmolLM2-360M"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf" / "hub"


def cached(cache: Path, commit: str, main: bool = False) -> Path:
    folder = cache / "models--HuggingFaceTB--SmolLM2-360M"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    if main:
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(commit)
    return Path(shutil.copyfile(tokenizer(), snapshot / "tokenizer.json"))


def test_the_given_one_comes_first_then_the_folders_then_the_caches(
    tmp_path: Path, empty_cache: Path
) -> None:
    main = cached(empty_cache, "aaa", main=True)
    cached(empty_cache, "bbb")
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    assert find_tokenizer(None, checkpoint, NAME) == main
    beside = Path(shutil.copyfile(tokenizer(), checkpoint / "tokenizer.json"))
    assert find_tokenizer(None, checkpoint, NAME) == beside
    assert find_tokenizer(tokenizer(), checkpoint, NAME) == tokenizer()
    assert find_tokenizer(tokenizer().parent, checkpoint, NAME) == tokenizer()


def test_an_absent_tokenizer_says_how_to_get_it(tmp_path: Path, empty_cache: Path) -> None:
    with pytest.raises(TokenizerError, match=f"hf download {NAME}.*--tokenizer PATH") as caught:
        find_tokenizer(None, tmp_path, NAME)
    assert str(empty_cache) in str(caught.value)
    with pytest.raises(TokenizerError, match="names no file"):
        find_tokenizer(tmp_path / "none.json", tmp_path, NAME)


def test_the_caches_variables_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/somewhere")
    assert hub_cache() == Path("/somewhere/hub")
    monkeypatch.setenv("HF_HUB_CACHE", "/elsewhere")
    assert hub_cache() == Path("/elsewhere")


def test_prompts_end_with_a_line_and_are_padded_on_the_right() -> None:
    encoder = PromptEncoder(tokenizer(), 48, 512)
    bare, ended = encoder.encode("pick up"), encoder.encode("pick up\n")
    np.testing.assert_array_equal(bare.token_ids, ended.token_ids)
    assert bare.token_ids.shape == bare.token_mask.shape == (48,)
    assert bare.token_mask.sum() == len("pick up\n")
    assert bare.token_mask[:8].all()
    assert not bare.token_ids[8:].any()
    newline = encoder.encode("").token_ids[0]
    assert bare.token_ids[7] == newline
    with pytest.raises(ValueError, match="read-only"):
        bare.token_ids[0] = 1


def test_long_prompts_lose_their_end_and_other_alphabets_pass() -> None:
    encoder = PromptEncoder(tokenizer(), 48, 512)
    long = encoder.encode("a" * 100)
    assert long.token_mask.all()
    assert set(long.token_ids) == {encoder.encode("a").token_ids[0]}
    assert encoder.encode("拿起罐子 🤖").token_mask.sum() == len("拿起罐子 🤖\n".encode())


def test_padding_of_the_files_own_is_replaced(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    own = Tokenizer.from_file(str(tokenizer()))
    own.enable_padding(length=60)
    own.enable_truncation(3)
    own.save(str(tmp_path / "own.json"))
    assert PromptEncoder(tmp_path / "own.json", 48, 512).encode("pick up").token_mask.sum() == 8


@pytest.mark.parametrize(
    ("ids", "message"),
    [((), "Got 0"), ((1,) * 49, "Got 49. Expected 1 to 48"), ((1, 512), "512"), ((-1,), "-1")],
)
def test_wrong_token_ids_are_refused(ids: tuple[int, ...], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        pad_tokens(ids, 48, 512)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(TokenizerError, match="is not a tokenizer"):
        PromptEncoder(tmp_path / "t.json", 48, 512)


def test_a_tokenizer_of_a_larger_vocabulary_is_noticed() -> None:
    with pytest.raises(TokenizerError, match="outside the model's vocabulary"):
        PromptEncoder(tokenizer(), 48, 50).encode("pick up")
