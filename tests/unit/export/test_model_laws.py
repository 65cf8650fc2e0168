"""Laws of the policy on inputs other than the golden ones."""

from __future__ import annotations

import msgspec
import pytest
import torch
from golden_model import TINY_CHECKPOINT, relative_error
from torch.nn import functional as F

from dvla.export.checkpoint import load_policy
from dvla.export.model.flow import flow_times
from dvla.export.model.images import fitted_size, prepare_images
from dvla.export.model.policy import DynamicVla
from dvla.export.model.rope import apply_rope, rope_angles

CLOSE = 2e-6
Inputs = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def policy() -> DynamicVla:
    return load_policy(TINY_CHECKPOINT)


def draw(policy: DynamicVla, n_tokens: int, seed: int, size: tuple[int, int] = (90, 120)) -> Inputs:
    """Return a random observation and noise, batch 1."""
    g = torch.Generator().manual_seed(seed)
    frames = {
        key: torch.randint(0, 256, (1, 2, *size, 3), generator=g, dtype=torch.uint8)
        for key in policy.config.image_keys
    }
    return frames | {
        "token_ids": torch.randint(0, 512, (1, n_tokens), generator=g),
        "token_mask": torch.ones(1, n_tokens, dtype=torch.bool),
        "state": torch.randn(1, 2, 6, generator=g),
        "noise": torch.randn(1, 20, 32, generator=g),
    }


def act(policy: DynamicVla, inputs: Inputs) -> torch.Tensor:
    frames = {key: inputs[key] for key in policy.config.image_keys}
    rest = {key: value for key, value in inputs.items() if key not in frames}
    with torch.inference_mode():
        actions: torch.Tensor = policy(frames, **rest)
    return actions


def prefix(policy: DynamicVla, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    images = policy.prepare_images({key: inputs[key] for key in policy.config.image_keys})
    tokens = policy.embed_images(images)
    return policy.embed_prefix(tokens, inputs["token_ids"], inputs["token_mask"], inputs["state"])


def pad_prompt(inputs: Inputs, length: int, filler: int) -> Inputs:
    extra = length - inputs["token_ids"].shape[1]
    ids = F.pad(inputs["token_ids"], (0, extra), value=filler)
    return inputs | {"token_ids": ids, "token_mask": F.pad(inputs["token_mask"], (0, extra))}


@pytest.mark.parametrize("n_tokens", [0, 1, 17, 48])
def test_padding_a_prompt_changes_nothing(policy: DynamicVla, n_tokens: int) -> None:
    inputs = draw(policy, n_tokens, seed=n_tokens)
    plain = act(policy, inputs)
    for length, filler in ((n_tokens + 1, 0), (48, 511), (60, 7)):
        padded = pad_prompt(inputs, max(length, n_tokens), filler)
        assert relative_error(act(policy, padded), plain) <= CLOSE


def test_a_batch_of_prompts_of_different_lengths_is_one_by_one(policy: DynamicVla) -> None:
    singles = [draw(policy, n, seed=n) for n in (3, 11)]
    padded = [pad_prompt(single, 11, filler=5) for single in singles]
    batch = {key: torch.cat([p[key] for p in padded]) for key in padded[0]}
    both = act(policy, batch)
    for row, single in zip(both, singles, strict=True):
        assert relative_error(row[None], act(policy, single)) <= CLOSE


def test_a_batch_of_cameras_is_one_by_one(policy: DynamicVla) -> None:
    inputs = draw(policy, 4, seed=1)
    with torch.inference_mode():
        images = policy.prepare_images({key: inputs[key] for key in policy.config.image_keys})
        both = policy.embed_images(images)
        for camera in range(2):
            alone = policy.vlm.embed_images(images[:, camera])
            assert relative_error(both[:, camera], alone) <= CLOSE


def test_cameras_are_told_apart_by_name_not_by_order(policy: DynamicVla) -> None:
    inputs = draw(policy, 4, seed=2)
    first, second = policy.config.image_keys
    reordered = {second: inputs[second], first: inputs[first]} | inputs
    assert torch.equal(act(policy, reordered), act(policy, inputs))
    swapped = inputs | {first: inputs[second], second: inputs[first]}
    assert relative_error(act(policy, swapped), act(policy, inputs)) > 1e-3


def test_inputs_are_not_written_to(policy: DynamicVla) -> None:
    inputs = draw(policy, 9, seed=3)
    before = {key: value.clone() for key, value in inputs.items()}
    first, second = act(policy, inputs), act(policy, inputs)
    assert all(torch.equal(inputs[key], value) for key, value in before.items())
    assert torch.equal(first, second)


def test_the_newest_state_alone_is_seen_and_added(policy: DynamicVla) -> None:
    inputs = draw(policy, 5, seed=4)
    older = inputs["state"].clone()
    older[:, 0] += 10.0
    assert torch.equal(act(policy, inputs | {"state": older}), act(policy, inputs))
    relative = torch.zeros(1, 20, 7)
    absolute = policy.absolute_actions(relative, inputs["state"])
    assert torch.equal(absolute[..., :6], inputs["state"][:, 1:].expand(-1, 20, -1))
    assert torch.equal(absolute[..., 6], relative[..., 6])


def test_a_gripper_in_the_state_is_not_added_to_the_action(policy: DynamicVla) -> None:
    state = torch.ones(1, 2, 7)
    assert policy.absolute_actions(torch.zeros(1, 20, 7), state)[0, 0].tolist() == [1.0] * 6 + [0.0]


def test_absolute_policies_add_nothing() -> None:
    policy = load_policy(TINY_CHECKPOINT)
    policy.config = msgspec.structs.replace(policy.config, use_delta_action=False)
    actions = torch.randn(1, 20, 7)
    assert torch.equal(policy.absolute_actions(actions, torch.ones(1, 2, 6)), actions)


def test_images_and_language_do_not_see_the_state(policy: DynamicVla) -> None:
    inputs = draw(policy, 6, seed=5)
    with torch.inference_mode():
        caches = [
            policy.prefix_cache(*prefix(policy, inputs | {"state": inputs["state"] + shift}))
            for shift in (0.0, 1.0)
        ]
    for (k0, v0), (k1, v1) in zip(*caches, strict=True):
        assert torch.equal(k0[:, :-1], k1[:, :-1])
        assert torch.equal(v0[:, :-1], v1[:, :-1])
        assert not torch.equal(v0[:, -1], v1[:, -1])


def test_an_action_does_not_see_later_ones(policy: DynamicVla) -> None:
    inputs = draw(policy, 6, seed=6)
    with torch.inference_mode():
        embedded, mask = prefix(policy, inputs)
        cache = policy.prefix_cache(embedded, mask)
        changed = inputs["noise"].clone()
        changed[:, 12:] += 1.0
        plain = policy.denoise_step(inputs["noise"], 0.5, cache, mask)
        other = policy.denoise_step(changed, 0.5, cache, mask)
    assert relative_error(other[:, :12], plain[:, :12]) <= CLOSE
    assert relative_error(other[:, 12:], plain[:, 12:]) > 1e-2


def test_the_soft_mask_goes_from_the_plain_sampler_to_the_target(policy: DynamicVla) -> None:
    inputs = draw(policy, 6, seed=7)
    noise, target = inputs["noise"], torch.randn(1, 20, 32)
    with torch.inference_mode():
        embedded, mask = prefix(policy, inputs)
        cache = policy.prefix_cache(embedded, mask)

        def sample(weight: torch.Tensor) -> torch.Tensor:
            return policy.sample_actions(
                cache, mask, noise, prev_actions=target, prev_weight=weight
            )

        plain = policy.sample_actions(cache, mask, noise)
        assert torch.equal(sample(torch.zeros(1, 20)), plain)
        assert torch.equal(sample(torch.ones(1, 20)), target)
        head = torch.zeros(1, 20)
        head[:, :5] = 1.0
        mixed = sample(head)
    assert torch.equal(mixed[:, :5], target[:, :5])
    assert not torch.equal(mixed[:, 5:], plain[:, 5:]), "the rest follows the kept actions"


@pytest.mark.parametrize("num_steps", [1, 3, 10, 50])
def test_flow_times_fall_evenly_from_one_to_zero(num_steps: int) -> None:
    times = flow_times(num_steps)
    assert len(times) == num_steps + 1
    assert (times[0], times[-1]) == (1.0, 0.0)
    even = [1.0 - i / num_steps for i in range(num_steps + 1)]
    assert max(abs(a - b) for a, b in zip(times, even, strict=True)) < 1e-5


def test_rotary_products_depend_on_distance_alone() -> None:
    q, k = torch.randn(1, 1, 2, 16), torch.randn(1, 1, 2, 16)

    def product(at_q: int, at_k: int) -> torch.Tensor:
        rope = [rope_angles(torch.tensor([[at]]), 16) for at in (at_q, at_k)]
        return (apply_rope(q, rope[0]) * apply_rope(k, rope[1])).sum(-1)

    assert torch.allclose(product(7, 3), product(40, 36), atol=1e-4)
    assert not torch.allclose(product(7, 3), product(7, 4), atol=1e-2)


@pytest.mark.parametrize("size", [(360, 480), (480, 640), (91, 121), (45, 61), (200, 100), (1, 1)])
def test_cameras_of_any_size_are_resized_to_the_feature_first(size: tuple[int, int]) -> None:
    frames = torch.randint(0, 256, (2, 2, *size, 3), dtype=torch.uint8)
    images = prepare_images(frames, (90, 120), (128, 128))
    assert images.shape == (2, 6, 128, 128)
    unit = frames.permute(0, 1, 4, 2, 3).reshape(4, 3, *size).float() / 255.0
    resized = F.interpolate(unit, size=(90, 120), mode="bilinear", antialias=True)
    again = prepare_images(resized.reshape(2, 2, 3, 90, 120), (90, 120), (128, 128))
    assert torch.allclose(images, again, atol=1e-6)


@pytest.mark.parametrize(
    ("feature", "bar"),
    [((90, 120), (32, 0)), ((120, 90), (0, 32)), ((128, 128), (0, 0)), ((91, 121), (32, 0)),
     ((77, 301), (96, 0)), ((301, 77), (0, 96)), ((300, 1), (0, 127))],
)  # fmt: skip
def test_the_padding_is_at_the_left_and_the_top_alone(
    feature: tuple[int, int], bar: tuple[int, int]
) -> None:
    white = torch.full((1, 1, *feature, 3), 255, dtype=torch.uint8)
    image = prepare_images(white, feature, (128, 128))[0]
    expected = torch.ones(3, 128, 128)
    expected[:, : bar[0], :] = -1.0
    expected[:, :, : bar[1]] = -1.0
    assert torch.allclose(image, expected, atol=1e-6)


def test_the_side_that_fits_exactly_is_never_a_pixel_short() -> None:
    for height in range(1, 700, 13):
        for width in range(1, 700, 13):
            h, w = fitted_size((height, width), (384, 384))
            assert max(h, w) == 384
            assert min(h, w) == max(1, 384 * min(height, width) // max(height, width))


def test_history_lies_in_the_channels_oldest_first() -> None:
    frames = torch.zeros(1, 2, 128, 128, 3, dtype=torch.uint8)
    frames[:, 1, ..., 2] = 255  # blue of the newest
    image = prepare_images(frames, (128, 128), (128, 128))[0, :, 0, 0]
    assert image.tolist() == [-1.0, -1.0, -1.0, -1.0, -1.0, 1.0]


def test_bytes_and_unit_floats_are_the_same_image() -> None:
    frames = torch.randint(0, 256, (1, 2, 90, 120, 3), dtype=torch.uint8)
    unit = frames.permute(0, 1, 4, 2, 3).double() / 255.0
    as_bytes = prepare_images(frames, (90, 120), (128, 128))
    assert torch.allclose(as_bytes, prepare_images(unit, (90, 120), (128, 128)), atol=1e-6)


def test_normalizing_is_undone_by_unnormalizing(policy: DynamicVla) -> None:
    statistics = policy.unnormalize_outputs.buffer_action
    actions = torch.randn(1, 20, 7)
    assert torch.allclose(statistics.unnormalize(statistics.normalize(actions)), actions, atol=1e-6)
