"""The golden vectors of the policy, and our model run through the same stages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dvla.export.config import PolicyConfig
from dvla.export.model.flow import flow_times
from dvla.export.model.policy import DynamicVla
from dvla.export.synthetic_weights import synthetic_image

GOLDEN = Path(__file__).parent / "golden"
TINY_CHECKPOINT = GOLDEN / "tiny_ckpt"


class Golden:
    """The vectors of one tag; in a file with two tags, the second's names have a prefix."""

    def __init__(self, tag: str, file: str, prefix: str = "") -> None:
        self.tag, self.prefix = tag, prefix
        self._arrays = np.load(GOLDEN / file)

    def __getitem__(self, name: str) -> Any:
        return self._arrays[self.prefix + name]

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self._arrays.files

    def tensor(self, name: str) -> torch.Tensor:
        """Return a vector as a tensor."""
        return torch.from_numpy(np.array(self[name]))

    def frames(self, config: PolicyConfig) -> dict[str, torch.Tensor]:
        """Return the frames (1, n_obs, h, w, 3) uint8 of every camera."""
        frames = {}
        for key in config.image_keys:
            height, width = config.image_size(key)
            history = [
                synthetic_image(f"{self.tag}/{key}/{i}", height, width)
                for i in range(config.n_obs_steps)
            ]
            frames[key] = torch.from_numpy(np.stack(history))[None]
        return frames


TINY = Golden("tiny", "golden_tiny.npz")
TINY2 = Golden("tiny2", "golden_tiny.npz", prefix="b_")


def full_golden() -> Golden:
    """Return the vectors of the full size."""
    return Golden("full", "golden_full.npz")


def relative_error(got: Any, expected: Any) -> float:
    """Return max|a - b| / max|b|; shapes must agree."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, (got.shape, expected.shape)
    assert np.isfinite(got).all()
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def stage_errors(policy: DynamicVla, golden: Golden) -> Iterator[tuple[str, float]]:
    """Run the policy through all stages and yield the relative error of each golden vector."""
    inputs = _LayerInputs(policy)
    with torch.inference_mode(), inputs:
        for name, got in _stages(policy, golden, inputs):
            yield name, relative_error(got, golden[name])


class _LayerInputs:
    """Records what enters every layer of the VLM and of the expert, at its first norm."""

    def __init__(self, policy: DynamicVla) -> None:
        self._stacks = {
            "prefix": policy.vlm.text_model.layers,
            "expert": policy.model.vlm_with_expert.lm_expert.layers,
        }
        self.seen: dict[str, list[torch.Tensor]] = {"prefix": [], "expert": []}

    def __enter__(self) -> None:
        self._handles = [
            layer.input_layernorm.register_forward_pre_hook(
                lambda _module, args, seen=self.seen[name]: seen.append(args[0])
            )
            for name, layers in self._stacks.items()
            for layer in layers
        ]

    def __exit__(self, *_exception: object) -> None:
        for handle in self._handles:
            handle.remove()


def _stages(
    policy: DynamicVla, golden: Golden, inputs: _LayerInputs
) -> Iterator[tuple[str, torch.Tensor | np.ndarray]]:
    images = policy.prepare_images(golden.frames(policy.config))
    for camera in range(images.shape[1]):
        yield from _image_stages(images[:, camera], camera, golden)
        yield f"cam{camera}_vision_out", policy.vlm.vision_model(images[:, camera])
    tokens = policy.embed_images(images)
    for camera in range(images.shape[1]):
        yield f"cam{camera}_img_emb", tokens[:, camera]
    token_ids, state = golden.tensor("in_tokens"), golden.tensor("in_state_raw")
    yield "in_state_norm_padded", policy.normalized_state(state)
    token_mask = torch.ones_like(token_ids, dtype=torch.bool)
    embedded, mask = policy.embed_prefix(tokens, token_ids, token_mask, state)
    yield "prefix_embs", embedded
    cache = policy.prefix_cache(embedded, mask)
    yield from _cache_stages(cache, inputs.seen["prefix"], golden)
    yield from _denoise_stages(policy, golden, cache, mask, inputs.seen["expert"])
    padded = policy.sample_actions(cache, mask, golden.tensor("in_noise"))
    yield "actions_padded", padded
    actions = policy.unnormalize_actions(padded)
    yield "actions_unnorm", actions
    yield "actions_absolute", policy.absolute_actions(actions, state)


def _image_stages(
    image: torch.Tensor, camera: int, golden: Golden
) -> Iterator[tuple[str, torch.Tensor | np.ndarray]]:
    for stride in (1, 16):
        if f"img{camera}_prepared_stride{stride}" in golden:
            yield f"img{camera}_prepared_stride{stride}", image[..., ::stride, ::stride]
            double = image.double()
            moments = np.array([double.mean(), double.std(correction=0)])
            yield f"img{camera}_prepared_meanstd", moments


def _cache_stages(
    cache: list[tuple[torch.Tensor, torch.Tensor]], seen: list[torch.Tensor], golden: Golden
) -> Iterator[tuple[str, torch.Tensor | np.ndarray]]:
    for layer, (k, v) in enumerate(cache):
        if f"kv{layer}_k" in golden:
            yield f"kv{layer}_k", k
            yield f"kv{layer}_v", v
        if f"kv{layer}_stats" in golden:
            moments = [
                (x.mean(), x.std(correction=0), x.abs().max()) for x in (k.double(), v.double())
            ]
            yield f"kv{layer}_stats", np.array(moments).reshape(-1)
    if "prefix_layer_in_rms" in golden:
        rms = [x.double().square().mean().sqrt() for x in seen]
        yield "prefix_layer_in_rms", np.array(rms)
        yield "prefix_layer_in_last_token", torch.stack([x[:, -1] for x in seen])


def _denoise_stages(
    policy: DynamicVla,
    golden: Golden,
    cache: list[tuple[torch.Tensor, torch.Tensor]],
    mask: torch.Tensor,
    seen: list[torch.Tensor],
) -> Iterator[tuple[str, torch.Tensor]]:
    noise = golden.tensor("in_noise")
    if "suffix_embs_step0" in golden:
        yield "suffix_embs_step0", policy.embed_suffix(noise, 1.0)
    # The states along the golden trajectory, where recorded, show that every velocity agrees on
    # its own; our own trajectory shows that their errors do not add up.
    times = flow_times(policy.config.num_steps)[:-1]
    x, ours, velocities = noise, [], []
    for step, flow_time in enumerate(times):
        ours.append(x)
        at = golden.tensor("x_t_in")[step] if "x_t_in" in golden else x
        velocity = policy.denoise_step(at, flow_time, cache, mask)
        if step == 0 and "step0_expert_layer_in" in golden:
            yield "step0_expert_layer_in", torch.stack(seen)
        velocities.append(velocity)
        own = velocity if at is x else policy.denoise_step(x, flow_time, cache, mask)
        x = x - own / len(times)
    yield "v_t", torch.stack(velocities)
    if "x_t_in" in golden:
        yield "x_t_in", torch.stack(ours)
