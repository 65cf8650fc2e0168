"""What a training refuses or ends with: one paragraph, and nothing that was saved is lost."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from training_data import made_up_dataset, made_up_episode

from dvla.engines.errors import CheckpointError, UsageError
from dvla.training import checkpoints
from dvla.training.checkpoints import read_statistics, save_state
from dvla.training.cli_train import train_command
from dvla.training.dataset import Episodes
from dvla.training.options import Curve, TrainOptions
from dvla.training.session import train
from dvla.training.trainer import Diverged, Trainer

OPTIONS = TrainOptions(steps=4, batch=4, draws=2, save_every=2, warm_up=1, held_out=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up_dataset(tmp_path_factory.mktemp("data") / "episodes")


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "policy"
    train("nano", None, [data], out, OPTIONS, resume=False, report=lambda _: None)
    return out


def of_arm(folder: Path, robot: str) -> Path:
    """Write episodes of an arm; of none that they name, where it is empty."""
    made_up_dataset(folder, 3)
    for path in folder.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"robot": robot}))
    return folder


def test_test_seeds_in_the_data_are_refused(tmp_path: Path) -> None:
    folder = made_up_dataset(tmp_path / "data", 2)
    made_up_episode(folder, 20_000)
    with pytest.raises(UsageError, match="reserved"):
        Episodes([folder])


@pytest.mark.parametrize(
    ("weights", "match"),
    [((1.0,), "one number for each"), ((1.0, 0.0), "above 0"), ((1.0, float("nan")), "above 0")],
)
def test_weights_that_do_not_fit_the_folders_are_refused(
    data: Path, tmp_path: Path, weights: tuple[float, ...], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        train_command((data, tmp_path), tmp_path / "out", weights=weights)
    assert not (tmp_path / "out").exists()


def test_nothing_to_train_on_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="dvla-collect"):
        train_command((tmp_path,), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there_is_not_left_out_in_silence(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no folder .*mistyped"):
        train_command((data, tmp_path / "mistyped"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_trained_folder_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"--init .* or choose another --out"):
        train_command((data,), tmp_path)


def test_a_damaged_state_is_said(data: Path, tmp_path: Path) -> None:
    train("nano", None, [data], tmp_path / "out", OPTIONS, resume=False, report=lambda _: None)
    (tmp_path / "out" / "training-state.pt").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="--init, and a new --out"):
        train("nano", None, [data], tmp_path / "out", OPTIONS, resume=True, report=lambda _: None)


def test_what_another_kind_of_training_saved_is_refused(data: Path, tmp_path: Path) -> None:
    train("nano", None, [data], tmp_path / "out", OPTIONS, resume=False, report=lambda _: None)
    other = msgspec.structs.replace(OPTIONS, muon=1.5)
    with pytest.raises(CheckpointError, match="same options"):
        train("nano", None, [data], tmp_path / "out", other, resume=True, report=lambda _: None)


def test_there_is_something_to_go_on_from(trained: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no saved training.*leave --resume out"):
        train_command((data,), tmp_path / "out", resume=True)
    with pytest.raises(UsageError, match=r"holds a trained policy already.*add --resume"):
        train_command((data,), trained)
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    with pytest.raises(UsageError, match=r"without its training's state.*--init .*weights"):
        train_command((data,), weights, resume=True)
    (tmp_path / "statistics.json").write_text("{}")
    with pytest.raises(CheckpointError, match="statistics of the training cannot be read"):
        read_statistics(tmp_path)


def test_a_full_disk_leaves_the_last_state(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch tells it: a RuntimeError of its own, behind which is the disk's."""
    before = (trained / "training-state.pt").read_bytes()

    def full(state: object, file: Any) -> None:
        file.write(b"half")
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise RuntimeError("enforce fail at inline_container.cc") from None

    monkeypatch.setattr(checkpoints.torch, "save", full)
    with pytest.raises(OSError, match="No space left") as raised:
        save_state(trained, {"step": 3})
    assert raised.value.errno == errno.ENOSPC
    assert (trained / "training-state.pt").read_bytes() == before
    assert not list(trained.glob(".*partial*"))


def test_what_a_killed_training_left_half_written_goes_with_the_next_save(tmp_path: Path) -> None:
    dead, alive = (
        tmp_path / f".training-state.pt.partial-{pid}" for pid in (2**22 + 1, os.getppid())
    )
    dead.write_bytes(b"half")
    alive.write_bytes(b"half")
    save_state(tmp_path, {"step": 3})
    assert not dead.exists() and alive.exists()


def test_a_training_that_diverges_ends_and_saves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, curves = Trainer._step, list[Curve]()

    def diverges(self: Trainer, sampler: Any) -> Any:
        losses = step(self, sampler)
        return losses * (np.nan if self.step == 3 else 1.0)

    monkeypatch.setattr(Trainer, "_step", diverges)
    with pytest.raises(Diverged, match=r"at step 3.*a smaller --lr") as raised:
        train("nano", None, [data], tmp_path / "out", OPTIONS, resume=False, report=curves.append)
    assert raised.value.exit_code == 1 and [curve.step for curve in curves] == [2]


def test_a_policy_keeps_its_arm_where_the_data_name_none(
    data: Path, trained: Path, tmp_path: Path
) -> None:
    """And where some name one, their order does not matter."""
    nobody, piper = of_arm(tmp_path / "nobody", ""), of_arm(tmp_path / "piper", "piper")
    tuned = tmp_path / "tuned"
    options = msgspec.structs.replace(OPTIONS, steps=1)
    train("nano", trained, [nobody], tuned, options, resume=False, report=lambda _: None)
    for folder in (trained, tuned):
        assert json.loads((folder / "config.json").read_text())["robot_type"] == "franka"
    assert Episodes([nobody, piper]).robot == Episodes([piper, nobody]).robot == "piper"


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("draws", 0), ("save_every", 0), ("threads", 0), ("steps", 0), ("lr", -1.0),
        ("lr", float("nan")), ("ema", 1.5), ("muon", -0.1), ("see_first", -1), ("seed", -1),
    ],
)  # fmt: skip
def test_options_out_of_bounds(flag: str, value: float, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--{flag.replace('_', '-')} is out of bounds"):
        train_command((data,), tmp_path / "out", **{flag: value})  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_damaged_description_is_one_paragraph(tmp_path: Path) -> None:
    folder = made_up_dataset(tmp_path / "data", 2)
    (folder / "episode-00100001.json").write_text('{"seed": 1')
    with pytest.raises(UsageError, match=r"no description of a recorded episode.*remove that file"):
        Episodes([folder])
