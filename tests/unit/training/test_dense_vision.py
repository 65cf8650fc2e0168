"""The encoder as matrix products: the same function, gradients and batch statistics as FastViT."""

from __future__ import annotations

import copy

import pytest
from four_stages import FOUR_STAGES

from dvla.export.arch import Arch
from dvla.export.config import convert_config
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import torch
from dvla.training import dense_vision
from dvla.training.initialise import initialise
from dvla.training.presets import NANO, preset_config

CONFIG = convert_config(preset_config("nano"), "nano")
ARCHS = pytest.mark.parametrize("arch", [NANO, FOUR_STAGES], ids=["three stages", "four stages"])


@ARCHS
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (64, 64), (32, 32)])
def test_it_is_the_encoder(arch: Arch, training: bool, height: int, width: int) -> None:
    policy = DynamicVla(CONFIG, arch).train(training)
    initialise(policy, 0)
    other = copy.deepcopy(policy)
    images = torch.rand(3, 2, 6, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    wanted, seen = policy.embed_images(images), dense_vision.embed_images(other, images)
    got = seen.tokens
    assert torch.allclose(got, wanted, atol=1e-5) and got.shape == wanted.shape
    wanted.square().sum().backward()
    got.square().sum().backward()
    for (name, a), b in zip(policy.named_parameters(), other.parameters(), strict=True):
        if a.grad is not None:
            assert b.grad is not None, name
            assert torch.allclose(a.grad, b.grad, atol=1e-4 * float(a.grad.abs().max())), name
    for (name, a), b in zip(policy.named_buffers(), other.buffers(), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=1e-5), name


@ARCHS
def test_its_stages_are_the_encoders(arch: Arch) -> None:
    policy = DynamicVla(CONFIG, arch).eval()
    initialise(policy, 0)
    images = torch.rand(3, 2, 6, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        wanted = policy.vlm.vision_model.stages(images.flatten(0, 1))
        got = dense_vision.embed_images(policy, images).stages
    for stage, other in zip(wanted, got, strict=True):
        assert torch.allclose(other.transpose(0, 1), stage, atol=1e-4 * float(stage.abs().max()))


@ARCHS
def test_larger_pictures_take_the_convolutions(monkeypatch: pytest.MonkeyPatch, arch: Arch) -> None:
    policy = DynamicVla(CONFIG, arch).eval()
    monkeypatch.setattr(dense_vision, "_dense_features", None)
    images = torch.rand(1, 2, 6, 128, 160)
    with torch.inference_mode():
        seen = dense_vision.embed_images(policy, images)
        assert torch.equal(seen.tokens, policy.embed_images(images))
    sizes = [(2, 4 * n, 5 * n) for n in (8, 4, 2, 1)][: len(arch.vision.dims)]
    assert seen.tokens.shape[2] == sizes[-1][1] * sizes[-1][2]
    assert [stage.shape[1:] for stage in seen.stages] == sizes
