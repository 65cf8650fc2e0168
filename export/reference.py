"""The reference of the gate: observations, and the fp32 torch model's actions for them.

They are stored in the bundle, so that any device can verify its engines later, without torch and
without the checkpoint.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import BundleError, UsageError
from dvla.engines.manifest import Normalisation, PolicyFacts
from dvla.export.model.policy import DynamicVla
from dvla.export.observation_arrays import find_fault, read_arrays
from dvla.export.torch_ import F, Tensor, torch

FrameSource = Literal["synthetic", "recorded"]
SYNTHETIC_CASES = 4
_ARRAYS = ("frames", "token_ids", "token_mask", "state", "noise")
_RESULTS = ("prev_actions", "prev_weight", "actions")
_BLOCK_PIXELS = 16


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Observations of the gate, stacked over N cases, and the model's actions.

    Attributes:
        source: whether the frames were made up or recorded.
        origin: what they were recorded in, for people; empty of made-up ones.
        frames: (N, cameras, n_obs, h, w, 3) uint8.
        token_ids: (N, max_length) int64; token_mask: (N, max_length) bool.
        state: (N, S) float32, as the graphs take it.
        noise: (N, H, max_action_dim) float32.
        prev_actions: (N, H, A) float32, the future of a previous chunk in the units of ``actions``.
        prev_weight: (N, H) float32 in [0, 1], how much it guides; zero of a plain case.
        actions: (N, H, A) float32 as the denoise graph gives them: physical units, before the state
            is added to offsets (adding it would hide their error behind larger numbers).
    """

    source: FrameSource
    frames: NDArray[np.uint8]
    token_ids: NDArray[np.int64]
    token_mask: NDArray[np.bool_]
    state: NDArray[np.float32]
    noise: NDArray[np.float32]
    prev_actions: NDArray[np.float32]
    prev_weight: NDArray[np.float32]
    actions: NDArray[np.float32]
    origin: str = ""

    def __len__(self) -> int:
        return len(self.actions)


def synthetic_inputs(facts: PolicyFacts, cases: int = SYNTHETIC_CASES) -> Reference:
    """Return made-up observations: coloured blocks with noise, prompts of all lengths, states.

    Every case has its own seed; the first prompt has one token and the last one all. ``actions`` is
    empty until ``with_actions`` fills it.
    """
    n_obs, length = len(facts.history_steps), facts.tokenizer_max_length
    frames = np.empty(
        (cases, len(facts.cameras), n_obs, facts.camera_height, facts.camera_width, 3), np.uint8
    )
    token_ids = np.zeros((cases, length), np.int64)
    token_mask = np.zeros((cases, length), np.bool_)
    state = np.empty((cases, facts.state_input_width), np.float32)
    noise = np.empty((cases, facts.chunk_size, facts.max_action_dim), np.float32)
    for case in range(cases):
        random = np.random.Generator(np.random.PCG64(case))
        frames[case] = _blocks(random, frames.shape[1:])
        n_tokens = 1 + case * (length - 1) // max(1, cases - 1)
        token_ids[case, :n_tokens] = random.integers(0, facts.vocab_size, n_tokens)
        token_mask[case, :n_tokens] = True
        state[case] = random.uniform(0.0, 1.0, facts.state_input_width)
        noise[case] = random.standard_normal(noise.shape[1:], np.float32)
    return Reference(
        source="synthetic",
        frames=frames,
        token_ids=token_ids,
        token_mask=token_mask,
        state=state,
        noise=noise,
        prev_actions=np.zeros((cases, facts.chunk_size, len(facts.action_names)), np.float32),
        prev_weight=np.zeros((cases, facts.chunk_size), np.float32),
        actions=np.empty((0, facts.chunk_size, len(facts.action_names)), np.float32),
    )


def with_guided_case(inputs: Reference, normalisation: Normalisation) -> Reference:
    """Return the inputs and their last case once more, now guided by a made-up previous chunk.

    Its weights are all of [0, 1]: one for the first third of the chunk, falling over the second,
    zero for the third.
    """
    random = np.random.Generator(np.random.PCG64(len(inputs.frames)))
    horizon, width = inputs.prev_actions.shape[1:]
    drawn = random.standard_normal((horizon, width)) * normalisation.action_std
    weight = np.clip(2.0 - 3.0 * np.arange(horizon) / max(1, horizon - 1), 0.0, 1.0)
    repeated = {
        name: np.concatenate([getattr(inputs, name), getattr(inputs, name)[-1:]])
        for name in (*_ARRAYS, "prev_actions", "prev_weight")
    }
    repeated["prev_actions"][-1] = drawn + normalisation.action_mean
    repeated["prev_weight"][-1] = weight
    return msgspec.structs.replace(inputs, **repeated)


def _blocks(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return frames of coloured blocks, so that they have edges and areas as camera frames do."""
    *leading, height, width, channels = shape
    rows, columns = -(-height // _BLOCK_PIXELS), -(-width // _BLOCK_PIXELS)
    coarse = random.integers(0, 224, (*leading, rows, columns, channels))
    blocks = coarse.repeat(_BLOCK_PIXELS, -3).repeat(_BLOCK_PIXELS, -2)[..., :height, :width, :]
    return (blocks + random.integers(0, 32, shape)).astype(np.uint8)


def with_actions(
    inputs: Reference, policy: DynamicVla, num_steps: int | None = None
) -> tuple[Reference, float]:
    """Let the torch model act on every case.

    Prompts go in without their padding, as the model was trained, so that the gate also shows that
    padding changes nothing.

    Args:
        inputs: the cases.
        policy: the model.
        num_steps: Euler steps; the policy's own when not given.

    Returns:
        The reference with actions, and the median duration of one eager inference [s].
    """
    actions, durations_s = [], []
    for case in range(len(inputs.frames)):
        started_s = time.perf_counter()
        actions.append(_eager_actions(inputs, policy, case, num_steps))
        durations_s.append(time.perf_counter() - started_s)
    filled = msgspec.structs.replace(inputs, actions=np.stack(actions))
    return filled, float(np.median(durations_s))


def _eager_actions(
    inputs: Reference, policy: DynamicVla, case: int, num_steps: int | None
) -> NDArray[np.float32]:
    """Return the torch model's actions (H, A) of one case."""
    mask = inputs.token_mask[case]
    keys = policy.config.image_keys
    frames = {k: torch.from_numpy(f)[None] for k, f in zip(keys, inputs.frames[case], strict=True)}
    with torch.no_grad():
        images = policy.embed_images(policy.prepare_images(frames))
        embedded, prefix = policy.embed_prefix(
            images,
            torch.from_numpy(inputs.token_ids[case][mask])[None],
            torch.ones(1, int(mask.sum()), dtype=torch.bool),
            torch.from_numpy(inputs.state[case])[None, None],
        )
        cache = policy.prefix_cache(embedded, prefix)
        noise = torch.from_numpy(inputs.noise[case])[None]
        sampled = policy.sample_actions(
            cache, prefix, noise, num_steps=num_steps, **_guide_of(inputs, policy, case)
        )
        actions = policy.unnormalize_actions(sampled)
    row: NDArray[np.float32] = actions[0].numpy()
    return row


def _guide_of(inputs: Reference, policy: DynamicVla, case: int) -> dict[str, Tensor]:
    """Return the guide of a case as the torch sampler takes it; none of a plain case."""
    weight = inputs.prev_weight[case]
    if not weight.any():
        return {}
    statistics = policy.unnormalize_outputs.buffer_action
    target = statistics.normalize(torch.from_numpy(inputs.prev_actions[case])[None])
    padding = policy.config.max_action_dim - target.shape[-1]
    return {
        "prev_actions": F.pad(target, (0, padding)),
        "prev_weight": torch.from_numpy(weight)[None],
    }


def save_reference(path: Path, reference: Reference) -> None:
    """Write a reference as one compressed file of arrays."""
    arrays = {name: getattr(reference, name) for name in (*_ARRAYS, *_RESULTS)}
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            source=np.array(reference.source),
            origin=np.array(reference.origin),
            **arrays,
        )


def load_reference(path: Path) -> Reference:
    """Read a reference that ``save_reference`` wrote.

    Raises:
        BundleError: the file is none, or no policy can act on what it holds.
    """
    try:
        arrays = read_arrays(path, (*_ARRAYS, *_RESULTS, "source"), optional=("origin",))
        source = msgspec.convert(str(arrays.pop("source")), FrameSource)
        origin = str(arrays.pop("origin", ""))
        if fault := find_fault(arrays):
            raise ValueError(f"{fault.what}: {fault.got}")
        return Reference(source=source, origin=origin, **arrays)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise BundleError(
            f"{path} does not hold the reference of a verification",
            got=str(error),
            next_command="export the bundle again: dvla-export MODEL -o BUNDLE --overwrite",
        ) from error


def load_recorded_inputs(path: Path, facts: PolicyFacts) -> Reference:
    """Read recorded observations, an ``.npz`` of the observations' arrays and noise.

    Raises:
        UsageError: the file cannot be read, an array does not have the policy's shape, or no policy
            can act on what it holds.
    """
    shapes = synthetic_inputs(facts, cases=1)
    try:
        found = read_arrays(path, _ARRAYS)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} does not hold recorded observations",
            got=str(error),
            expected=f"an .npz with {', '.join(_ARRAYS)}",
        ) from error
    for name, array in found.items():
        like = getattr(shapes, name)
        if array.shape[1:] != like.shape[1:] or array.dtype != like.dtype or len(array) == 0:
            raise UsageError(
                f"{name} in {path} does not have the policy's shape and dtype",
                got=f"{array.dtype}{list(array.shape)}",
                expected=f"{like.dtype}[cases, {', '.join(map(str, like.shape[1:]))}]",
            )
    if fault := find_fault(found, facts.vocab_size):
        raise UsageError(
            f"Of the observations in {path}, {fault.what}", got=fault.got, expected=fault.expected
        )
    plain = {
        name: np.repeat(getattr(shapes, name), len(found["frames"]), axis=0)
        for name in ("prev_actions", "prev_weight")
    }
    return Reference(source="recorded", origin=path.name, actions=shapes.actions, **plain, **found)
