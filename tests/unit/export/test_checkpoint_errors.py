"""Every wrong checkpoint is one CheckpointError that says what is wrong with what."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_model import TINY_CHECKPOINT
from safetensors.torch import load_file, save_file

from dvla.engines.errors import CheckpointError
from dvla.export.checkpoint import load_checkpoint

State = dict[str, torch.Tensor]
OUT = "model.action_out_proj.bias"
STEM = "model.vlm_with_expert.vlm.model.vision_model.patch_embedding.0.reparam_conv.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("config.json", "arch.json", "model.safetensors"):
        shutil.copyfile(TINY_CHECKPOINT / name, tmp_path / name)
    return tmp_path


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


def edit_state(folder: Path, change: Callable[[State], None]) -> None:
    state = load_file(TINY_CHECKPOINT / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    return str(caught.value)


def test_all_wrong_tensors_are_named_in_one_error(folder: Path) -> None:
    def change(state: State) -> None:
        del state[OUT], state["model.state_proj.weight"]
        state["model.lora.weight"] = torch.zeros(3)
        state[STEM] = torch.zeros(16, 9, 3, 3)
        state["model.action_in_proj.bias"] = torch.full((72,), float("nan"))
        state["model.state_proj.bias"] = torch.zeros(96, dtype=torch.int32)

    edit_state(folder, change)
    text = refusal(folder)
    assert f"2 missing: model.state_proj.weight, {OUT}" in text
    assert "1 unexpected: model.lora.weight" in text
    assert f"1 mis-shaped: {STEM} (16, 9, 3, 3) instead of (16, 6, 3, 3)" in text
    assert "1 of a wrong type: model.state_proj.bias torch.int32" in text
    assert "1 not finite: model.action_in_proj.bias" in text


def test_any_single_missing_tensor_is_named_alone(folder: Path) -> None:
    names = list(load_file(TINY_CHECKPOINT / "model.safetensors"))
    for name in [*names[::23], "model.vlm_with_expert.vlm.model.text_model.norm.weight"]:
        edit_state(folder, lambda state, name=name: state.pop(name))  # type: ignore[misc]
        assert f"1 missing: {name}." in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_single_value_that_is_not_finite(folder: Path, value: float) -> None:
    def change(state: State) -> None:
        state["unnormalize_outputs.buffer_action.std"][3] = value

    edit_state(folder, change)
    assert "1 not finite: unnormalize_outputs.buffer_action.std" in refusal(folder)


def test_long_lists_are_counted(folder: Path) -> None:
    edit_state(folder, lambda s: s.update({f"extra.{i}": torch.zeros(1) for i in range(60)}))
    text = refusal(folder)
    assert "60 unexpected: extra.0," in text
    assert "and 20 more" in text


def test_tensors_of_another_model(folder: Path) -> None:
    save_file({"bert.encoder.weight": torch.zeros(2, 2)}, folder / "model.safetensors")
    assert "not those of a DynamicVLA policy" in refusal(folder)


@pytest.mark.parametrize("size", [0, 4, 8, 5000, -1])
def test_a_truncated_safetensors(folder: Path, size: int) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:size])
    assert "truncated, damaged or not a safetensors file" in refusal(folder)


@pytest.mark.parametrize("size", [0, 3, 1000, -100])
def test_a_truncated_pt(folder: Path, size: int) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "model.pt")
    whole = (folder / "model.pt").read_bytes()
    (folder / "model.pt").write_bytes(whole[:size])
    assert "truncated, damaged or not a torch file" in refusal(folder / "model.pt")


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_a_foreign_file(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"<!DOCTYPE html><html>404</html>" * 100)
    assert "truncated, damaged or not" in refusal(folder / name)


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.witness,)


@pytest.mark.parametrize("torch_format", [True, False], ids=["torch", "plain pickle"])
def test_nothing_is_unpickled(folder: Path, torch_format: bool) -> None:
    witness = folder / "executed"
    content = {"config": Bomb(witness), "model": {}}
    if torch_format:
        torch.save(content, folder / "model.pt")
    else:
        (folder / "model.pt").write_bytes(pickle.dumps(content))
    assert "model.pt cannot be read" in refusal(folder / "model.pt")
    assert not witness.exists()


@pytest.mark.parametrize(
    "content",
    [[torch.zeros(1)], {"a": 1.5}, {}, {"epoch": 3, "model": None}, {1: torch.zeros(1)}],
    ids=["list", "number", "empty", "no model", "unnamed"],
)
def test_a_pt_without_a_state_dict(folder: Path, content: object) -> None:
    torch.save(content, folder / "model.pt")
    assert "holds no state dict" in refusal(folder / "model.pt")


def test_a_tensor_under_both_names(folder: Path) -> None:
    edit_state(folder, lambda s: s.update({f"_orig_mod.{OUT}": torch.zeros(32)}))
    assert "holds tensors twice" in refusal(folder)


def test_paths_that_lead_nowhere(folder: Path) -> None:
    assert "There is no checkpoint" in refusal(folder / "no" / "such")
    (folder / "notes.txt").write_text("hello")
    assert "suffix '.txt'" in refusal(folder / "notes.txt")


def test_a_folder_without_weights_names_those_it_has(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "epoch_3.safetensors")
    assert "Valid: epoch_3.safetensors. Next: pass one of them" in refusal(folder)
    (folder / "epoch_3.safetensors").unlink()
    assert "no weight file at all" in refusal(folder)


def test_a_missing_config_says_where_it_belongs(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert f"copy the config.json of the training run to {folder / 'config.json'}" in refusal(
        folder
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"type": "smolvla"}', "\xff"])
def test_a_config_that_is_none(folder: Path, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    assert "config.json is not" in refusal(folder)


UNSUPPORTED = {
    "temporal_fusion": "conv",
    "attention_mode": "self_attn",
    "num_expert_layers": 2,
    "num_expert_skip_layers": 1,
    "fastvlm_inference_mode": False,
    "empty_cameras": 1,
}


@pytest.mark.parametrize("key", UNSUPPORTED)
def test_an_unsupported_variant_is_named_with_what_is_supported(folder: Path, key: str) -> None:
    edit_config(folder, **{key: UNSUPPORTED[key]})
    text = refusal(folder)
    assert f"{key} of" in text
    assert f"Got {UNSUPPORTED[key]!r}. Valid: " in text


def test_an_unsupported_normalization(folder: Path) -> None:
    edit_config(folder, normalization_mapping={"STATE": "MIN_MAX", "ACTION": "MEAN_STD"})
    text = refusal(folder)
    assert "normalization_mapping.STATE" in text
    assert "'MIN_MAX'. Valid: 'MEAN_STD'" in text


@pytest.mark.parametrize("change", [
    {"chunk_size": "twenty"}, {"chunk_size": 0}, {"num_steps": -1}, {"num_vlm_layers": 10**9},
    {"num_vlm_layers": 5}, {"n_obs_steps": 3}, {"delta_timestamps": {"observation": [0, -2]}},
    {"input_features": {}}, {"output_features": {}}, {"max_state_dim": 5}, {"max_state_dim": 16},
    {"min_period": 0.0}, {"resize_imgs_with_padding": [0, 384]}, {"self_attn_every_n_layers": 3},
])  # fmt: skip
def test_a_config_that_contradicts_itself_or_the_tensors(
    folder: Path, change: dict[str, Any]
) -> None:
    edit_config(folder, **change)
    refusal(folder)


@pytest.mark.parametrize("name", ["Qwen/Qwen2-0.5B", "", "HuggingFaceTB/SmolVLM-256M"])
def test_an_unknown_text_model_without_arch_json(folder: Path, name: str) -> None:
    (folder / "arch.json").unlink()
    edit_config(folder, vlm_model_name=name)
    text = refusal(folder)
    assert f"Got {name!r}. Valid: SmolLM2-135M, SmolLM2-360M" in text


@pytest.mark.parametrize("head_dim", [0, -16, 5, 7, 64, "wide", None])
def test_a_wrong_arch_json(folder: Path, head_dim: object) -> None:
    (folder / "arch.json").write_text(json.dumps({"text": {"head_dim": head_dim}}))
    assert "head" in refusal(folder)


def test_an_arch_json_that_is_not_json(folder: Path) -> None:
    (folder / "arch.json").write_text("{")
    assert "arch.json beside" in refusal(folder)
