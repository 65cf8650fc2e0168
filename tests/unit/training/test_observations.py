"""Observations for an export reach back as far as the checkpoint's own history."""

from __future__ import annotations

import numpy as np
import pytest

from dvla.export.config import convert_config
from dvla.runtime.observation import Observation
from dvla.runtime.tokenizer import PromptEncoder
from dvla.training.collect import observations
from dvla.training.presets import preset_config

pytest.importorskip("mujoco")


class Blank:
    """A renderer whose pictures are black."""

    def __init__(self, width: int, height: int) -> None:
        self._size = height, width

    def picture(self, snapshot: object, camera: str) -> np.ndarray:
        return np.zeros((*self._size, 3), np.uint8)

    def close(self) -> None:
        pass


class NoText(PromptEncoder):
    """Encodes every instruction as one token."""

    def __init__(self) -> None:
        pass

    def encode(self, text: str):  # type: ignore[no-untyped-def]
        from dvla.runtime.tokenizer import pad_tokens

        return pad_tokens((1,), 24, 512)


def test_they_have_the_history_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observations, "TwinRenderer", Blank)

    def record(steps: tuple[int, int]) -> list[Observation]:
        return observations.record_observations(4, steps, (144, 192))

    near, far = record((-2, 0)), record((-4, 0))
    moving = 0
    for two, four in zip(near, far, strict=True):
        assert np.array_equal(two.state[-1], four.state[-1])
        moving += not np.allclose(two.state[0], four.state[0], atol=1e-4)
    assert moving >= 2
    config = convert_config(preset_config("nano"), "nano")
    arrays = observations.arrays_of(far, config, NoText())
    assert arrays["state"].shape == (4, 12) and arrays["frames"].shape == (4, 2, 2, 144, 192, 3)
    assert np.allclose(arrays["state"][-1][6:9], (far[-1].state[1] - far[-1].state[0])[:3])
