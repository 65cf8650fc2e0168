"""Pictures of a training are those that the policy sees, whatever policy it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lerobot_dataset import write_foreign
from training_data import made_up_dataset

from dvla.engines.errors import UsageError
from dvla.export.arch import WHOLE, Crop
from dvla.export.checkpoint import load_checkpoint
from dvla.export.model.images import prepare_images
from dvla.export.synthetic import ARCHS, synthetic_checkpoint, synthetic_policy_config
from dvla.export.torch_ import torch
from dvla.training.collect.frames import map_episode
from dvla.training.dataset import Episodes
from dvla.training.lerobot.film import frames_of
from dvla.training.lerobot.imported import as_episodes
from dvla.training.lerobot.schema import CAMERA_KEYS
from dvla.training.options import Curve, TrainOptions
from dvla.training.pictures import STORED, Pictures, shrink
from dvla.training.presets import NANO, preset_config
from dvla.training.session import train

TINY = Pictures.of(synthetic_policy_config("tiny"), ARCHS["tiny"])
OPTIONS = TrainOptions(steps=2, batch=2, draws=1, save_every=2, warm_up=1, held_out=1, lr=1e-5)


def test_the_nano_policies_see_what_is_stored() -> None:
    from dvla.export.config import convert_config

    assert Pictures.of(convert_config(preset_config("nano"), "nano"), NANO) == STORED
    assert STORED.name == "96x64" and TINY.name.startswith("128x128-")
    assert len({TINY.name, Pictures.of(synthetic_policy_config("full"), ARCHS["full"]).name}) == 2


@pytest.mark.parametrize("frame", [(90, 120), (120, 160), (48, 40)])
@pytest.mark.parametrize("crop", [WHOLE, Crop(top=0.3, bottom=0.9, left=0.25)])
@pytest.mark.parametrize(
    ("feature", "square"), [((90, 120), (128, 128)), ((20, 24), (20, 24)), ((60, 40), (64, 64))]
)
def test_shrinking_is_the_policys_own_resize(
    frame: tuple[int, int], crop: Crop, feature: tuple[int, int], square: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*frame, 3)).astype(np.uint8)
    wanted = prepare_images(torch.from_numpy(image)[None, None], feature, square, crop)
    got = shrink(image, feature, square, crop).astype(np.float32) / 127.5 - 1.0
    assert np.abs(got - wanted[0].permute(1, 2, 0).numpy()).max() <= 0.501 / 127.5


def test_a_picture_that_fits_is_not_copied() -> None:
    image = np.zeros((20, 24, 3), np.uint8)
    assert shrink(image, (20, 24), (20, 24)) is image


def test_films_become_the_pictures_of_the_policy_that_is_trained(tmp_path: Path) -> None:
    data = write_foreign(tmp_path / "data", {"action": [7]}, size=(160, 120))
    steps = map_episode(as_episodes(data, TINY), 1_000_001, TINY.step)
    film = next((data / "videos" / CAMERA_KEYS[1]).rglob("*.mp4"))
    frame = frames_of(film, 6 + 3, 1)[0]
    wanted = prepare_images(torch.from_numpy(frame)[None, None], (90, 120), (128, 128))
    got = steps["images"][3, 1].astype(np.float32) / 127.5 - 1.0
    assert np.abs(got - wanted[0].permute(1, 2, 0).numpy()).max() <= 0.501 / 127.5
    assert as_episodes(data).name == "episodes-96x64"
    assert map_episode(as_episodes(data), 1_000_001)["images"].shape[2:] == (64, 96, 3)


def test_a_checkpoint_is_tuned_on_pictures_of_its_own(tmp_path: Path) -> None:
    data = write_foreign(tmp_path / "data", {"action": [7]}, size=(160, 120))
    synthetic_checkpoint("tiny", tmp_path / "model")
    curves: list[Curve] = []
    out = tmp_path / "out"
    train("nano", tmp_path / "model", [data], out, OPTIONS, resume=False, report=curves.append)
    before, after = load_checkpoint(tmp_path / "model"), load_checkpoint(out)
    assert after.config.resize_imgs_with_padding == (128, 128)
    assert before.tensors.keys() == after.tensors.keys()
    assert any(not torch.equal(after.tensors[k], v) for k, v in before.tensors.items())
    assert np.isfinite(curves[-1].flow)


def test_episodes_for_other_policies_are_refused(tmp_path: Path) -> None:
    episodes = made_up_dataset(tmp_path / "episodes")
    with pytest.raises(UsageError, match=r"96x64.*128x128.*lerobot-v3\.0"):
        Episodes([episodes], pictures=TINY)
