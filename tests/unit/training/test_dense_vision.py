"""The encoder as matrix products: the same function, gradients and batch statistics as FastViT."""

from __future__ import annotations

import copy

import pytest

from dvla.export.config import convert_config
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import torch
from dvla.training import dense_vision
from dvla.training.initialise import initialise
from dvla.training.presets import NANO, preset_config


@pytest.mark.parametrize("training", [True, False])
def test_it_is_the_encoder(training: bool) -> None:
    policy = DynamicVla(convert_config(preset_config("nano"), "nano"), NANO).train(training)
    initialise(policy, 0)
    other = copy.deepcopy(policy)
    images = torch.rand(3, 2, 6, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    wanted, got = policy.embed_images(images), dense_vision.embed_images(other, images)
    assert torch.allclose(got, wanted, atol=1e-5) and got.shape == wanted.shape
    wanted.square().sum().backward()
    got.square().sum().backward()
    for (name, a), b in zip(policy.named_parameters(), other.parameters(), strict=True):
        if a.grad is not None:
            assert b.grad is not None, name
            assert torch.allclose(a.grad, b.grad, atol=1e-4 * float(a.grad.abs().max())), name
    for (name, a), b in zip(policy.named_buffers(), other.buffers(), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=1e-5), name


def test_larger_pictures_take_the_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = DynamicVla(convert_config(preset_config("nano"), "nano"), NANO).eval()
    monkeypatch.setattr(dense_vision, "dense_features", None)
    with torch.inference_mode():
        assert dense_vision.embed_images(policy, torch.zeros(1, 2, 6, 128, 128)).shape[2] == 4
