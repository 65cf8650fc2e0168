"""Every form in which a checkpoint is found gives the same policy; what is read is written back."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from golden_model import TINY_CHECKPOINT
from safetensors.torch import load_file, save_file

from dvla.export import checkpoint_io
from dvla.export.checkpoint import (
    Checkpoint,
    build_policy,
    load_checkpoint,
    load_policy,
    save_checkpoint,
)

OFFICIAL = ("config.json", "model.safetensors")


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return load_file(TINY_CHECKPOINT / "model.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the side files and no weights."""
    for name in ("config.json", "arch.json"):
        shutil.copyfile(TINY_CHECKPOINT / name, tmp_path / name)
    return tmp_path


def assert_same(checkpoint: Checkpoint, state: dict[str, torch.Tensor]) -> None:
    assert set(checkpoint.tensors) == set(state)
    for name, tensor in state.items():
        assert checkpoint.tensors[name].dtype == tensor.dtype
        assert torch.equal(checkpoint.tensors[name], tensor), name


def test_a_folder(state: dict[str, torch.Tensor]) -> None:
    assert_same(load_checkpoint(TINY_CHECKPOINT), state)
    assert_same(load_checkpoint(str(TINY_CHECKPOINT)), state)


def test_a_bare_safetensors_takes_the_config_beside_it(
    folder: Path, state: dict[str, torch.Tensor]
) -> None:
    save_file(state, folder / "epoch_20.safetensors")
    assert_same(load_checkpoint(folder / "epoch_20.safetensors"), state)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pt_with_a_state_dict(folder: Path, state: dict[str, torch.Tensor], zipped: bool) -> None:
    torch.save(state, folder / "model.pt", _use_new_zipfile_serialization=zipped)
    assert_same(load_checkpoint(folder / "model.pt"), state)


@pytest.mark.parametrize("key", ["model", "state_dict"])
@pytest.mark.parametrize("as_text", [True, False], ids=["json", "dict"])
def test_a_pt_that_holds_its_own_config(
    tmp_path: Path, state: dict[str, torch.Tensor], key: str, as_text: bool
) -> None:
    shutil.copyfile(TINY_CHECKPOINT / "arch.json", tmp_path / "arch.json")
    text = (TINY_CHECKPOINT / "config.json").read_text()
    config = text if as_text else json.loads(text)
    torch.save({"config": config, key: state, "epoch": 3}, tmp_path / "model.pt")
    checkpoint = load_checkpoint(tmp_path / "model.pt")
    assert_same(checkpoint, state)
    assert checkpoint.config == load_checkpoint(TINY_CHECKPOINT).config


def test_a_config_elsewhere(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    save_file(state, tmp_path / "weights.safetensors")
    shutil.copyfile(TINY_CHECKPOINT / "arch.json", tmp_path / "arch.json")
    config = TINY_CHECKPOINT / "config.json"
    assert_same(load_checkpoint(tmp_path / "weights.safetensors", config), state)


def test_names_that_torch_compile_prefixed(folder: Path, state: dict[str, torch.Tensor]) -> None:
    prefixed = {
        name.replace("model.", "model._orig_mod.", 1) if name.startswith("model.") else name: t
        for name, t in state.items()
    }
    assert "model._orig_mod.state_proj.weight" in prefixed
    save_file(prefixed, folder / "model.safetensors")
    assert_same(load_checkpoint(folder), state)


def test_bf16_tensors_become_float32_policies(folder: Path, state: dict[str, torch.Tensor]) -> None:
    half = {name: tensor.to(torch.bfloat16) for name, tensor in state.items()}
    save_file(half, folder / "model.safetensors")
    checkpoint = load_checkpoint(folder)
    assert_same(checkpoint, half)
    policy = build_policy(checkpoint)
    assert {p.dtype for p in policy.parameters()} == {torch.float32}
    weight = policy.model.state_proj.weight
    assert torch.equal(weight, half["model.state_proj.weight"].float())


def test_what_is_read_is_written_back_bit_for_bit(tmp_path: Path) -> None:
    save_checkpoint(load_checkpoint(TINY_CHECKPOINT), tmp_path / "copy")
    for name in OFFICIAL:
        assert (tmp_path / "copy" / name).read_bytes() == (TINY_CHECKPOINT / name).read_bytes()
    modes = {(tmp_path / "copy" / name).stat().st_mode for name in OFFICIAL}
    assert len(modes) == 1, "the weights are as readable as the config"
    assert sorted(p.name for p in (tmp_path / "copy").iterdir()) == ["arch.json", *OFFICIAL]


def test_unknown_config_keys_and_metadata_are_kept(
    folder: Path, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"of_a_later_version": [1, None]}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    copy = save_checkpoint(load_checkpoint(folder), tmp_path / "copy")
    for name in OFFICIAL:
        assert (copy / name).read_bytes() == (folder / name).read_bytes()


def test_a_checkpoint_can_be_written_over_itself(
    folder: Path, state: dict[str, torch.Tensor]
) -> None:
    save_file(state, folder / "model.safetensors")
    before = (folder / "model.safetensors").read_bytes()
    save_checkpoint(load_checkpoint(folder), folder)
    assert (folder / "model.safetensors").read_bytes() == before
    assert_same(load_checkpoint(folder), state)


def test_a_pt_with_tied_statistics_is_written_in_the_official_format(
    folder: Path, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    tied = dict(state)
    for leaf in ("mean", "std"):
        key = f"buffer_action.{leaf}"
        tied[f"unnormalize_outputs.{key}"] = tied[f"normalize_targets.{key}"]
    torch.save({f"{name}": t for name, t in tied.items()}, folder / "model.pt")
    copy = save_checkpoint(load_checkpoint(folder / "model.pt"), tmp_path / "copy")
    assert_same(load_checkpoint(copy), tied)


def test_the_policy_shares_the_files_memory() -> None:
    checkpoint = load_checkpoint(TINY_CHECKPOINT)
    policy = build_policy(checkpoint)
    name = "model.vlm_with_expert.vlm.model.text_model.embed_tokens.weight"
    assert policy.state_dict()[name].data_ptr() == checkpoint.tensors[name].data_ptr()
    assert list(policy.state_dict()) == list(checkpoint.tensors)
    assert not load_policy(TINY_CHECKPOINT).training


def test_two_processes_do_not_move_each_others_half_written_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(value: float) -> None:
        checkpoint_io.write_raw(tmp_path, {"w": torch.full((3,), value)}, {}, None)

    def another_writes_too(*arguments: object, **options: object) -> None:
        save_file(*arguments, **options)  # type: ignore[arg-type]
        with monkeypatch.context() as other:
            other.setattr(safetensors.torch, "save_file", save_file)
            other.setattr(checkpoint_io.os, "getpid", os.getppid)
            write(2.0)
        assert load_file(tmp_path / "model.safetensors")["w"].tolist() == [2.0] * 3

    monkeypatch.setattr(safetensors.torch, "save_file", another_writes_too)
    write(1.0)
    assert load_file(tmp_path / "model.safetensors")["w"].tolist() == [1.0] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_what_a_killed_process_left_of_its_weights_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".model.safetensors.partial-4194399"  # Above the largest process id.
    left.write_bytes(b"half")
    checkpoint_io.write_raw(tmp_path, {"w": torch.zeros(3)}, {}, None)
    assert not left.exists()
