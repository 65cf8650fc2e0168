"""Muon: steps of equal size in all directions, on the matrices that mix features alone."""

from __future__ import annotations

import pytest
from four_stages import FOUR_STAGES

from dvla.export.config import convert_config
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import nn, torch
from dvla.training.muon import ADAM_SIZE, Muon, feature_matrices, orthogonal
from dvla.training.presets import preset_config


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16), (1, 9)])
def test_all_directions_become_about_as_large(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape, generator=generator) * torch.logspace(0, -1.5, shape[1])
    step = orthogonal(matrix)
    before, after = torch.linalg.svdvals(matrix), torch.linalg.svdvals(step)
    assert step.shape == matrix.shape
    assert len(before) == 1 or before[0] / before[-1] > 1.5
    assert after.max() < 1.3 and after.min() > 0.2
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    assert float((left.T @ step @ right.T).diagonal().min()) > 0.2  # along the same directions


def test_what_is_rare_in_the_data_is_learned_as_fast() -> None:
    """A map whose inputs are of very different sizes, by as many steps of either."""

    def error_after(train: type[torch.optim.Optimizer]) -> float:
        torch.manual_seed(0)
        sizes = torch.logspace(0, -2, 12)
        wanted, weight = torch.randn(16, 12) / sizes, nn.Parameter(torch.zeros(16, 12))
        optimiser = train([weight], lr=0.3)  # type: ignore[call-arg]
        for step in range(120):
            optimiser.param_groups[0]["lr"] = 0.3 * (1.0 - step / 120)
            inputs = torch.randn(64, 12) * sizes
            loss = (inputs @ (weight - wanted).T).square().mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return float(loss.detach())

    assert error_after(Muon) < error_after(torch.optim.SGD)


def test_a_step_is_as_large_as_one_of_adam() -> None:
    weight = nn.Parameter(torch.zeros(24, 3, 3, 3))
    optimiser = Muon([weight], lr=0.01)
    weight.grad = torch.randn(24, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    optimiser.step()
    size = float(weight.detach().square().mean().sqrt())
    assert size == pytest.approx(0.01 * ADAM_SIZE, rel=0.3)


def test_a_saved_optimiser_goes_on_where_it_was() -> None:
    def steps(optimiser: Muon, weight: nn.Parameter, seeds: range) -> None:
        for seed in seeds:
            weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
            optimiser.step()

    whole = nn.Parameter(torch.ones(6, 5))
    steps(Muon([whole], 0.1), whole, range(6))
    first = nn.Parameter(torch.ones(6, 5))
    optimiser = Muon([first], 0.1)
    steps(optimiser, first, range(3))
    second = nn.Parameter(first.detach().clone())
    resumed = Muon([second], 0.2)
    resumed.load_state_dict(optimiser.state_dict())
    steps(resumed, second, range(3, 6))
    torch.testing.assert_close(second, whole, rtol=0, atol=0)


def test_only_what_mixes_features_is_trained_by_it() -> None:
    policy = DynamicVla(convert_config(preset_config("nano"), "nano"), FOUR_STAGES)
    policy.requires_grad_(True)
    encoder = policy.vlm.vision_model
    found = {id(each) for each in feature_matrices(encoder, nn.Linear(4, 8), nn.Linear(4, 9))}
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert any(m.groups > 1 for m in convolutions)
    for convolution in convolutions:
        assert (id(convolution.weight) in found) == (convolution.groups == 1)
    vectors = [p for p in encoder.parameters() if p.ndim == 1]
    assert vectors and not found & {id(p) for p in vectors}
    dense = [m for m in encoder.modules() if isinstance(m, nn.Linear)]
    assert len(found) == sum(m.groups == 1 for m in convolutions) + len(dense) + 1
