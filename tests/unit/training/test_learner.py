"""A checkpoint as the policy of a collection: its own network, and always its newest save."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dvla.export.checkpoint import load_policy
from dvla.export.config import convert_config
from dvla.export.model.policy import DynamicVla
from dvla.export.torch_ import torch
from dvla.runtime.observation import Observation
from dvla.runtime.pose import state_input
from dvla.runtime.tokenizer import PromptEncoder
from dvla.training.checkpoints import write_checkpoint
from dvla.training.collect.learner import CheckpointPolicy
from dvla.training.initialise import initialise
from dvla.training.presets import NANO, TOKENS, preset_config
from dvla.training.tokenizer import train_tokenizer

TEXT = "pick up the red ball"


def save(folder: Path, seed: int) -> None:
    policy = DynamicVla(convert_config(preset_config("nano"), "nano"), NANO)
    initialise(policy, seed)
    write_checkpoint(folder, policy.state_dict(), preset_config("nano"), NANO)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save(tmp_path, 0)
    train_tokenizer([TEXT, "pick up the blue can"], 300, tmp_path / "tokenizer.json")
    return tmp_path


def observation() -> Observation:
    rng = np.random.default_rng(0)
    names = ("opst_cam", "wrist_cam")
    images = {
        f"observation.images.{name}": rng.integers(0, 255, (2, 144, 192, 3)).astype(np.uint8)
        for name in names
    }
    state = np.tile(np.array([0.4, 0.0, 0.3, 3.1, 0.0, 0.1], np.float32), (2, 1))
    state[0, :2] -= (0.05, 0.02)
    return Observation(images=images, state=state, instruction=TEXT)


def test_it_gives_the_networks_own_chunk(checkpoint: Path) -> None:
    seen = observation()
    noise = np.random.default_rng(1).standard_normal((20, 7)).astype(np.float32)
    chunk = CheckpointPolicy(checkpoint).predict(seen, noise)
    policy = load_policy(checkpoint)
    prompt = PromptEncoder(checkpoint / "tokenizer.json", TOKENS, NANO.vocab).encode(TEXT)
    state = torch.from_numpy(state_input(seen.state, 12))[None, None]
    with torch.inference_mode():
        images = policy.prepare_images(
            {key: torch.from_numpy(frames[None]) for key, frames in seen.images.items()}
        )
        # Recorded pictures are rounded to whole grey values, the graph's are not.
        images = ((images + 1.0) * 127.5).round() / 127.5 - 1.0
        embedded, mask = policy.embed_prefix(
            policy.embed_images(images),
            torch.tensor(prompt.token_ids[None]),
            torch.tensor(prompt.token_mask[None]),
            state,
        )
        padded = policy.sample_actions(
            policy.prefix_cache(embedded, mask), mask, torch.from_numpy(noise[None])
        )
        wanted = policy.absolute_actions(policy.unnormalize_actions(padded), state)[0].numpy()
    assert np.allclose(chunk.actions[:, :3], wanted[:, :3], atol=1e-3)


def test_a_reset_takes_the_newest_save(checkpoint: Path) -> None:
    policy, seen = CheckpointPolicy(checkpoint), observation()
    first = policy.predict(seen, seed=3).actions
    policy.reset()
    assert np.array_equal(policy.predict(seen, seed=3).actions, first)
    save(checkpoint, 1)
    os.utime(checkpoint / "model.safetensors", ns=(1, 1))
    assert np.array_equal(policy.predict(seen, seed=3).actions, first)
    policy.reset()
    assert not np.array_equal(policy.predict(seen, seed=3).actions, first)
