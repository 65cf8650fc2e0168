"""Action statistics under which a synthetic policy moves an arm by little, around where it is.

Random weights give actions of some mean and deviation of their own. They are measured on synthetic
observations and divided out, so that the wanted deviation comes out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.export.arch import Arch
from dvla.export.config import PolicyConfig
from dvla.export.synthetic_weights import synthetic_image, unit_noise

OBSERVATIONS = 3
"""Observations to measure on: the full size takes seconds for each."""


def action_statistics(
    config: PolicyConfig,
    arch: Arch,
    tensors: Mapping[str, NDArray[np.float32] | NDArray[np.int64]],
    action_scale: tuple[float, float],
) -> dict[str, NDArray[np.float32]]:
    """Return the tensors that make a policy's actions small.

    Args:
        config: the policy's config.
        arch: its dims.
        tensors: its weights by official name.
        action_scale: wanted standard deviation of position [m] and rotation [rad]; that of the
            gripper is 1, and all means are 0.
    """
    std_m, std_rad = action_scale
    wanted = np.array([std_m] * 3 + [std_rad] * 3 + [1.0] * (config.action_dim - 6), np.float64)
    if not (np.isfinite(wanted).all() and (wanted > 0.0).all()):
        raise UsageError(
            "The action scale is wrong", got=action_scale, expected="two numbers above 0"
        )
    padded = _sampled_actions(config, arch, tensors)[:, : config.action_dim]
    std = wanted / padded.std(axis=0)
    statistics = {"mean": (-padded.mean(axis=0) * std), "std": std}
    return {
        f"{holder}.buffer_action.{name}": value.astype(np.float32)
        for holder in ("normalize_targets", "unnormalize_outputs")
        for name, value in statistics.items()
    }


def _sampled_actions(
    config: PolicyConfig,
    arch: Arch,
    tensors: Mapping[str, NDArray[np.float32] | NDArray[np.int64]],
) -> NDArray[np.float64]:
    """Return (OBSERVATIONS * H, D) normalised actions for as many synthetic observations."""
    from dvla.export.checkpoint import empty_policy
    from dvla.export.torch_ import torch

    policy = empty_policy(config, arch)
    policy.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()}, assign=True)
    policy.eval().requires_grad_(False)
    token_ids = torch.arange(1, 21)[None] % arch.vocab
    chunks = []
    for index in range(OBSERVATIONS):
        name = f"statistics/{index}"
        shape = (1, config.chunk_size, config.max_action_dim)
        state = unit_noise(f"{name}/state", config.n_obs_steps * config.state_dim)
        noise = unit_noise(f"{name}/noise", config.chunk_size * config.max_action_dim)
        frames = {
            key: torch.from_numpy(_history(f"{name}/{key}", config, key))
            for key in config.image_keys
        }
        with torch.inference_mode():
            tokens = policy.embed_images(policy.prepare_images(frames))
            states = torch.from_numpy(state).float().reshape(1, config.n_obs_steps, -1)
            embedded, mask = policy.embed_prefix(tokens, token_ids, token_ids >= 0, states)
            start = torch.from_numpy(noise).float().reshape(shape)
            chunk = policy.sample_actions(policy.prefix_cache(embedded, mask), mask, start)
        chunks.append(chunk[0].double().numpy())
    return np.concatenate(chunks)


def _history(name: str, config: PolicyConfig, key: str) -> NDArray[np.uint8]:
    height, width = config.image_size(key)
    frames = [synthetic_image(f"{name}/{i}", height, width) for i in range(config.n_obs_steps)]
    return np.stack(frames)[None]
