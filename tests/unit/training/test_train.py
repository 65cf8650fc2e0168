"""Training: the objective is the sampler's, a resumed run is the same run, errors lose nothing."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from four_stages import FOUR_STAGES, four_stages_config
from training_data import made_up_dataset, made_up_episode

from dvla.engines.errors import CheckpointError, UsageError
from dvla.export.checkpoint import load_checkpoint, load_policy
from dvla.export.config import convert_config
from dvla.export.model.flow import time_embedding
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import torch
from dvla.runtime.tokenizer import PromptEncoder
from dvla.training import trainer as trainer_module
from dvla.training.checkpoints import write_checkpoint
from dvla.training.cli_train import train_command
from dvla.training.dataset import Episodes
from dvla.training.flow_loss import _velocity as velocity_at
from dvla.training.flow_loss import draw_flow_times, embed_times, relative_actions
from dvla.training.initialise import initialise
from dvla.training.options import Curve, TrainOptions
from dvla.training.presets import NANO, preset_config
from dvla.training.sampler import Sampler
from dvla.training.session import train
from dvla.training.tokenizer import train_tokenizer

WIDER = msgspec.structs.replace(
    NANO,
    vision=msgspec.structs.replace(NANO.vision, dims=(32, 64, 128), mlp_dims=(96, 192, 384)),
)
"""With an encoder whose first two stages have the form of nano's."""
OPTIONS = TrainOptions(steps=4, batch=4, draws=2, save_every=2, warm_up=1, held_out=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up_dataset(tmp_path_factory.mktemp("data") / "episodes")


@pytest.fixture(scope="module")
def nano() -> DynamicVla:
    policy = DynamicVla(convert_config(preset_config("nano"), "nano"), NANO)
    initialise(policy, 0)
    return policy.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def sampler(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Sampler:
    tokenizer = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_tokenizer(["pick up the red ball", "pick up the blue ball"], 300, tokenizer)
    return Sampler(
        Episodes([data], (-4, 0), state_width=12),
        PromptEncoder(tokenizer, 24, 512),
        0,
        augment=False,
    )


def test_times_are_embedded_as_the_sampler_does_it() -> None:
    times = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)
    rows = embed_times(times, 96, 4e-3, 4.0)
    for time, row in zip(times, rows, strict=True):
        assert torch.equal(row, time_embedding(float(time), 96, 4e-3, 4.0))


def test_flow_times_have_the_distribution_of_the_spec() -> None:
    drawn = draw_flow_times(200_000, torch.Generator().manual_seed(0)).numpy()
    assert drawn.min() >= 0.001 and drawn.max() <= 1.0
    for quantile in (0.1, 0.5, 0.9):  # of Beta(1.5, 1): q ** (1 / 1.5)
        wanted = 0.999 * quantile ** (1 / 1.5) + 0.001
        assert np.quantile(drawn, quantile) == pytest.approx(wanted, abs=0.005)


def test_the_trained_velocity_is_the_samplers(nano: DynamicVla, sampler: Sampler) -> None:
    batch = sampler.batch(3)
    tokens = nano.embed_images(batch.images)
    embedded, mask = nano.embed_prefix(
        tokens, batch.token_ids, batch.token_mask, batch.state[:, None]
    )
    cache = nano.prefix_cache(embedded, mask)
    x = torch.randn(3, 20, 7, generator=torch.Generator().manual_seed(1))
    times = torch.full((3,), 0.3, dtype=torch.float64)
    trained = velocity_at(nano, x, times, cache, mask)
    assert torch.allclose(trained, nano.denoise_step(x, 0.3, cache, mask), atol=1e-6)


def test_targets_undo_what_inference_does(nano: DynamicVla, sampler: Sampler) -> None:
    batch = sampler.batch(3)
    target = relative_actions(nano, batch.actions, batch.state)
    back = nano.absolute_actions(nano.unnormalize_actions(target), batch.state[:, None])
    assert torch.allclose(back, batch.actions, atol=1e-5)


@pytest.mark.parametrize(
    ("steps", "older"), [((-2, 0), (0, 0, 0, 3, 12)), ((-5, 0), (0, 0, 0, 0, 12))]
)
def test_history_lies_as_far_back_as_the_policy_says_and_is_clamped(
    data: Path, steps: tuple[int, int], older: tuple[int, ...]
) -> None:
    episodes = Episodes([data], steps, state_width=12)
    now, frames, states, _ = episodes.rows(np.array([0, 1, 2, 5, 12]))
    whole, *_ = episodes.rows(np.arange(len(episodes)))
    for row, place in enumerate(older):
        assert np.array_equal(frames[row, :, 0], whole[place]["images"])
        assert np.array_equal(frames[row, :, 1], now[row]["images"])
        moved = now[row]["state"][:3] - whole[place]["state"][:3]
        assert np.array_equal(states[row, :6], now[row]["state"])
        assert states[row, 6:9] == pytest.approx(moved, abs=1e-6)
    assert np.array_equal(now[3]["images"], whole[5]["images"])


def test_held_out_episodes_are_never_drawn(data: Path) -> None:
    seen, held_out = Episodes([data]), Episodes([data], held_out=True)
    assert [i.seed for i in held_out.infos] == [100_000]
    assert [i.seed for i in seen.infos] == [100_001, 100_002, 100_003]


def test_data_with_nothing_held_out_are_not_called_empty(tmp_path: Path) -> None:
    made_up_episode(tmp_path / "few", 100_001)
    assert len(Episodes([tmp_path / "few"])) == 12
    with pytest.raises(UsageError, match=r"held out.*divisible by 20"):
        Episodes([tmp_path / "few"], held_out=True)


def test_new_episodes_are_taken_in(tmp_path: Path) -> None:
    folder = made_up_dataset(tmp_path / "growing", 2)
    episodes = Episodes([folder])
    before = len(episodes)
    made_up_episode(folder, 100_007)
    episodes.refresh()
    episodes.refresh()
    assert len(episodes) == before + 12


@pytest.mark.parametrize("muon", [0.0, 1.5])
def test_a_resumed_training_is_the_same_training(data: Path, tmp_path: Path, muon: float) -> None:
    whole: list[Curve] = []
    options = msgspec.structs.replace(OPTIONS, muon=muon)
    train("nano", None, [data], tmp_path / "whole", options, resume=False, report=whole.append)

    class Stopped(Exception):
        pass

    def stop(curve: Curve) -> None:
        if curve.step == 2:
            raise Stopped

    with pytest.raises(Stopped):
        train("nano", None, [data], tmp_path / "parts", options, resume=False, report=stop)
    train("nano", None, [data], tmp_path / "parts", options, resume=True, report=lambda curve: None)
    first, second = (load_checkpoint(tmp_path / name).tensors for name in ("whole", "parts"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [curve.step for curve in whole] == [2, 4]


def test_bf16_changes_the_products_and_not_what_is_kept(data: Path, tmp_path: Path) -> None:
    curves: list[Curve] = []
    for bf16 in (False, True):
        options = TrainOptions(
            steps=1, batch=4, draws=2, save_every=1, warm_up=1, held_out=2, bf16=bf16
        )
        out = tmp_path / str(bf16)
        train("nano", None, [data], out, options, resume=False, report=curves.append)
    full, half = (load_checkpoint(tmp_path / name).tensors for name in ("False", "True"))
    assert all(half[name].dtype == tensor.dtype for name, tensor in full.items())
    assert any(not torch.equal(half[name], tensor) for name, tensor in full.items())
    for name in ("flow", "object", "spot", "told"):
        exact, rounded = getattr(curves[0], name), getattr(curves[1], name)
        assert rounded == pytest.approx(exact, rel=0.02)
        assert rounded != exact or name == "flow"  # of which the network tells little as yet


def test_it_learns(data: Path, tmp_path: Path) -> None:
    curves: list[Curve] = []
    options = TrainOptions(
        steps=40, batch=8, draws=4, save_every=20, warm_up=5, lr=2e-3, held_out=2
    )
    train("nano", None, [data], tmp_path / "out", options, resume=False, report=curves.append)
    assert curves[-1].flow < 0.8 * curves[0].flow
    policy = load_policy(tmp_path / "out")
    assert policy.config.use_delta_action and policy.config.robot_type == "franka"
    mean = policy.unnormalize_outputs.buffer_action.mean
    assert torch.equal(mean, policy.normalize_targets.buffer_action.mean) and mean.abs().sum() > 0


def test_a_frozen_backbone_stays(data: Path, tmp_path: Path) -> None:
    options = TrainOptions(steps=2, batch=4, draws=1, save_every=2, warm_up=1, freeze_backbone=True)
    train("nano", None, [data], tmp_path / "out", options, resume=False, report=lambda _: None)
    fresh = DynamicVla(convert_config(preset_config("nano"), "nano"), NANO)
    initialise(fresh, 0)
    trained = load_checkpoint(tmp_path / "out").tensors
    for name, tensor in fresh.named_parameters():
        same = torch.allclose(tensor, trained[name], atol=1e-7)
        assert same == (".vlm." in name), name


def test_fine_tuning_keeps_the_checkpoints_own_statistics(data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    train("nano", None, [data], first, OPTIONS, resume=False, report=lambda _: None)
    other = made_up_dataset(tmp_path / "other", 3)
    train("nano", first, [other], second, OPTIONS, resume=False, report=lambda _: None)
    a, b = load_policy(first), load_policy(second)
    assert torch.equal(
        a.normalize_inputs.buffer_observation_state.mean,
        b.normalize_inputs.buffer_observation_state.mean,
    )
    assert (first / "tokenizer.json").read_bytes() == (second / "tokenizer.json").read_bytes()


def test_a_new_encoder_begins_anew_and_the_rest_goes_on(data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    raw = four_stages_config()
    policy = DynamicVla(convert_config(raw, "nano"), FOUR_STAGES)
    initialise(policy, 3)
    write_checkpoint(first, policy.state_dict(), raw, FOUR_STAGES)
    train_tokenizer(
        ["pick up the red ball", "pick up the blue ball"], 300, first / "tokenizer.json"
    )
    still = msgspec.structs.replace(OPTIONS, steps=1, lr=0.0, save_every=1)
    train(
        "nano", first, [data], second, still, resume=False, report=lambda _: None, new_encoder=True
    )
    kept, renewed = load_checkpoint(first), load_checkpoint(second)
    assert renewed.arch == msgspec.structs.replace(FOUR_STAGES, vision=NANO.vision) != kept.arch
    for name, tensor in renewed.tensors.items():
        if not (".vision_model." in name or ".connector." in name):
            assert torch.allclose(tensor, kept.tensors[name], atol=1e-6), name
    load_policy(second)


def test_a_policy_from_nothing_can_begin_with_anothers_encoder(data: Path, tmp_path: Path) -> None:
    lent = DynamicVla(convert_config(preset_config("nano"), "nano"), WIDER)
    initialise(lent, 7)
    write_checkpoint(tmp_path / "lent", lent.state_dict(), preset_config("nano"), WIDER)
    options = msgspec.structs.replace(OPTIONS, steps=1, lr=1e-9)
    for name, encoder in (("with", tmp_path / "lent"), ("without", None)):
        train(
            "nano", None, [data], tmp_path / name, options, resume=False, report=lambda _: None,
            encoder=encoder,
        )  # fmt: skip
    begun, own = (load_checkpoint(tmp_path / name).tensors for name in ("with", "without"))
    seen = {
        name
        for name in begun
        if ".vision_model." in name and ".bn.running" not in name and not name.endswith("tracked")
    }
    third = {name for name in seen if ".layers.4." in name or ".layers.3." in name}
    expansion = {name for name in seen if ".conv_exp." in name}
    for name in seen - third - expansion:
        torch.testing.assert_close(begun[name], lent.state_dict()[name], atol=1e-6, rtol=0)
    drawn = [name for name in third | (set(begun) - seen) if own[name].dim() > 1]
    assert drawn and all(torch.allclose(begun[n], own[n], atol=1e-6) for n in drawn)


def test_an_encoder_that_does_not_fit_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave one of them out"):
        train_command((data,), tmp_path / "out", init=tmp_path, encoder=tmp_path)
    with pytest.raises(CheckpointError):
        train_command((data,), tmp_path / "out", encoder=tmp_path / "nothing")
    tiny = Path(__file__).parents[2] / "golden" / "tiny_ckpt"
    with pytest.raises(UsageError, match=r"another form.*tiny_ckpt.*6 channels in"):
        train_command((data,), tmp_path / "out", encoder=tiny)
    assert not (tmp_path / "out").exists()


def test_a_new_encoder_of_nothing_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--init"):
        train_command((data,), tmp_path / "out", new_encoder=True)


def test_the_first_layers_begin_with_each_frame_by_itself() -> None:
    policy = DynamicVla(convert_config(preset_config("nano"), "nano"), NANO)
    initialise(policy, 0)
    policy.eval().requires_grad_(False)
    first, second = policy.vlm.vision_model.patch_embedding[:2]
    frames = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    seen = second(first(torch.cat([frames[0], frames[1]])[None]))[0]
    swapped = second(first(torch.cat([frames[1], frames[0]])[None]))[0]
    half = len(seen) // 2
    torch.testing.assert_close(seen[:half], swapped[half:])
    torch.testing.assert_close(seen[half:], swapped[:half])
    assert not torch.allclose(seen[:half], seen[half:], atol=1e-3)


def test_the_learning_rate_rises_stays_and_falls() -> None:
    trainer = object.__new__(trainer_module.Trainer)
    trainer._options = TrainOptions(steps=1000, warm_up=100, lr=1.0, decay=0.3)
    rates = []
    for step in range(1000):
        trainer.step = step
        rates.append(trainer.learning_rate())
    assert rates[0] == pytest.approx(0.01) and rates[99] == pytest.approx(1.0)
    assert min(rates[99:699]) > 0.999 and rates[-1] < 0.02
    assert all(a >= b for a, b in pairwise(rates[700:]))
