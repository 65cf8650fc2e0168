"""Encoders of three and four stages, crops and states with motion: what a small policy may have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from four_stages import FOUR_STAGES, four_stages_config

from dvla.engines.errors import CheckpointError
from dvla.export.arch import Arch, Crop
from dvla.export.checkpoint import load_checkpoint
from dvla.export.config import convert_config
from dvla.export.facts import policy_facts
from dvla.export.model.policy import DynamicVla
from dvla.export.prefix_graph import image_tokens
from dvla.export.torch_ import torch
from dvla.training.checkpoints import write_checkpoint
from dvla.training.initialise import initialise
from dvla.training.presets import NANO, preset_config

CONFIG = convert_config(preset_config("nano"), "nano")


def written(folder: Path, arch: Arch = NANO, raw: dict[str, Any] | None = None) -> Path:
    raw = raw or preset_config("nano")
    policy = DynamicVla(convert_config(raw, "nano"), arch)
    initialise(policy, 0)
    write_checkpoint(folder, policy.state_dict(), raw, arch)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path)


@pytest.mark.parametrize(
    ("arch", "raw", "stages", "count"),
    [(NANO, preset_config("nano"), 3, 24), (FOUR_STAGES, four_stages_config(), 4, 6)],
)
def test_fewer_stages_and_crops_come_back_from_disk(
    tmp_path: Path, arch: Arch, raw: dict[str, Any], stages: int, count: int
) -> None:
    checkpoint = load_checkpoint(written(tmp_path, arch, raw))
    assert checkpoint.arch == arch and len(checkpoint.arch.vision.dims) == stages
    policy = DynamicVla(checkpoint.config, arch).eval()
    tokens = policy.embed_images(torch.zeros(1, 2, 6, 64, 96))
    assert tokens.shape[2] == image_tokens(policy) == count


def test_a_state_of_twelve_is_a_pose_and_its_motion() -> None:
    facts = policy_facts(CONFIG, NANO, (144, 192))
    assert facts.state_motion and (facts.state_width, facts.state_input_width) == (6, 12)


def test_only_the_crop_is_seen() -> None:
    policy = DynamicVla(CONFIG, NANO)
    camera = CONFIG.image_keys[0]
    rows, columns = NANO.crops[camera].slices(144, 192)
    frames = {key: torch.zeros(1, 2, 144, 192, 3, dtype=torch.uint8) for key in CONFIG.image_keys}
    before = policy.prepare_images(frames)
    frames[camera][:] = 200
    frames[camera][:, :, rows, columns] = 0
    assert torch.equal(policy.prepare_images(frames), before)
    frames[camera][:, :, rows.start, columns.start] = 200
    assert not torch.equal(policy.prepare_images(frames), before)


@pytest.mark.parametrize(
    ("crops", "words"),
    [
        ({"observation.images.other": {}}, "does not have"),
        ({CONFIG.image_keys[0]: {"top": 0.6, "bottom": 0.4}}, "within the picture"),
        ({CONFIG.image_keys[0]: {"top": "a"}}, "cannot be read"),
        ({CONFIG.image_keys[0]: {"above": 0.1}}, "cannot be read"),
        ([1], "cannot be read"),
    ],
)
def test_wrong_crops_are_refused(folder: Path, crops: object, words: str) -> None:
    path = folder / "arch.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"crops": crops}))
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(folder)


def test_the_smallest_crop_is_a_pixel() -> None:
    assert Crop(top=0.501, bottom=0.502).slices(10, 10) == (slice(5, 6), slice(0, 10))
    assert Crop(top=0.999).slices(10, 10)[0] == slice(9, 10)
