"""The policy of a bundle: deterministic, checked at its door, and free of torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bundle_tools import copy_of_tiny_bundle, edit_manifest, tiny_bundle
from hypothesis import given
from hypothesis import strategies as st

from dvla.engines.errors import BundleError, TokenizerError, UsageError
from dvla.runtime.observation import Observation
from dvla.runtime.policy import Policy, absolute_actions

ROOT = Path(__file__).resolve().parents[3]
CAMERAS = ("observation.images.opst_cam", "observation.images.wrist_cam")


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.load(tiny_bundle(), threads=1)


def observation(**changes: Any) -> Observation:
    random = np.random.default_rng(3)
    frames = random.integers(0, 256, (2, 2, 90, 120, 3), np.uint8)
    fields: dict[str, Any] = {
        "images": dict(zip(CAMERAS, frames, strict=True)),
        "state": random.uniform(0, 1, (2, 6)).astype(np.float32),
        "instruction": "pick up the red can",
        "t_obs_ns": 7,
    }
    return Observation(**(fields | changes))


def test_noise_and_seed_fix_the_chunk(policy: Policy) -> None:
    noise = np.random.default_rng(0).standard_normal((20, 32), np.float32)
    kept = noise.copy()
    first, second = (policy.predict(observation(), noise=noise) for _ in range(2))
    np.testing.assert_array_equal(noise, kept)
    np.testing.assert_array_equal(first.actions, second.actions)
    assert second.sequence == first.sequence + 1
    seeded = [policy.predict(observation(), seed=s).actions for s in (1, 1, 2)]
    np.testing.assert_array_equal(seeded[0], seeded[1])
    assert np.abs(seeded[0] - seeded[2]).max() > 1e-3
    drawn = [policy.predict(observation()).actions for _ in range(2)]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3


def test_a_noise_scale_scales_what_is_drawn_and_leaves_what_is_given(policy: Policy) -> None:
    """Half the noise of a seed is what that seed draws, halved; 0 leaves one chunk."""
    halved = Policy.load(tiny_bundle(), threads=1, noise_scale=0.5)
    drawn = np.random.Generator(np.random.PCG64(5)).standard_normal((20, 32), np.float32)
    by_hand = policy.predict(observation(), noise=drawn * np.float32(0.5)).actions
    np.testing.assert_array_equal(halved.predict(observation(), seed=5).actions, by_hand)
    given_noise = [p.predict(observation(), noise=drawn).actions for p in (policy, halved)]
    np.testing.assert_array_equal(*given_noise)
    still = Policy.load(tiny_bundle(), threads=1, noise_scale=0.0)
    chunks = [still.predict(observation(), seed=seed).actions for seed in (1, 2)]
    np.testing.assert_array_equal(*chunks)


def test_a_bundle_says_what_its_noise_is_scaled_by(tmp_path: Path) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)
    edit_manifest(bundle, lambda data: data["policy"].update(noise_scale=0.5))
    calm = Policy.load(bundle, threads=1).predict(observation(), seed=5).actions
    asked = Policy.load(tiny_bundle(), threads=1, noise_scale=0.5)
    np.testing.assert_array_equal(calm, asked.predict(observation(), seed=5).actions)
    edit_manifest(bundle, lambda data: data["policy"].update(noise_scale=-1.0))
    with pytest.raises(BundleError, match="noise_scale"):
        Policy.load(bundle)


@pytest.mark.parametrize("scale", [-0.1, 2.1, float("nan")])
def test_an_impossible_noise_scale_is_refused(scale: float) -> None:
    with pytest.raises(UsageError, match="--noise-scale is out of bounds"):
        Policy.load(tiny_bundle(), noise_scale=scale)


def test_a_chunk_is_what_was_promised(policy: Policy) -> None:
    chunk = policy.predict(observation(), seed=0)
    assert chunk.actions.shape == (policy.chunk_size, 7) == (20, 7)
    assert chunk.actions.dtype == np.float32
    assert chunk.t_obs_ns == 7
    assert chunk.inference_s > 0
    assert chunk.control_period_s == policy.control_period_s == 0.04
    with pytest.raises(ValueError, match="read-only"):
        chunk.actions[0, 0] = 0


def test_every_part_of_the_observation_matters(policy: Policy) -> None:
    base = policy.predict(observation(), seed=0).actions
    seen = observation()
    swapped = dict(zip(CAMERAS, reversed(list(seen.images.values())), strict=True))
    older = {k: image[::-1] for k, image in seen.images.items()}
    for changed in (
        observation(images=swapped),
        observation(images=older),
        observation(instruction="put down the blue can"),
        observation(token_ids=(1, 2, 3)),
        observation(state=seen.state + np.float32(0.1)),
    ):
        assert np.abs(policy.predict(changed, seed=0).actions - base).max() > 1e-4
    policy.reset()
    np.testing.assert_array_equal(policy.predict(observation(), seed=0).actions, base)


def test_only_the_newest_state_is_read(policy: Policy) -> None:
    seen = observation()
    older = seen.state.copy()
    older[0] += 1
    np.testing.assert_array_equal(
        policy.predict(observation(state=older), seed=0).actions,
        policy.predict(seen, seed=0).actions,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": {}}, "cameras"),
        ({"images": {"front": np.zeros((2, 90, 120, 3), np.uint8)}}, r"\['front'\].*opst_cam"),
        ({"images": dict.fromkeys(CAMERAS, np.zeros((2, 360, 480, 3), np.uint8))}, "camera-size"),
        ({"images": dict.fromkeys(CAMERAS, np.zeros((2, 90, 120, 3), np.float32))}, "float32"),
        ({"images": dict.fromkeys(CAMERAS, np.zeros((1, 90, 120, 3), np.uint8))}, "history"),
        ({"state": np.zeros(6, np.float32)}, r"float32\[6\].*float32\[2, 6\]"),
        ({"state": np.zeros((2, 7), np.float32)}, r"float32\[2, 7\]"),
        ({"state": np.zeros((2, 6), np.int64)}, "int64"),
        ({"state": np.full((2, 6), np.nan, np.float32)}, "not finite"),
        ({"token_ids": (512,)}, "vocabulary"),
        ({"token_ids": (1,) * 49}, "Expected 1 to 48"),
    ],
)
def test_a_wrong_observation_is_refused(
    policy: Policy, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((UsageError, TokenizerError), match=message):
        policy.predict(observation(**changes), seed=0)


def test_wrong_noise_is_refused(policy: Policy) -> None:
    good = np.zeros((20, 32), np.float32)
    for noise in (good[:, :7], good.astype(np.float64), np.full_like(good, np.inf)):
        with pytest.raises(UsageError, match="noise"):
            policy.predict(observation(), noise=noise)
    with pytest.raises(UsageError, match="Both noise and seed"):
        policy.predict(observation(), noise=good, seed=1)


@given(
    state=st.lists(st.floats(0, 6.28), min_size=6, max_size=6),
    delta=st.lists(st.floats(-1, 1), min_size=7, max_size=7),
)
def test_offsets_are_added_once_and_stay_near_the_state(
    state: list[float], delta: list[float]
) -> None:
    base = np.array(state, np.float32)
    offsets = np.array([delta, delta], np.float32)
    kept = offsets.copy()
    absolute = absolute_actions(offsets, base, delta_columns=6)
    np.testing.assert_array_equal(offsets, kept)
    np.testing.assert_allclose(absolute[:, :6], base + offsets[:, :6], atol=1e-5)
    np.testing.assert_array_equal(absolute[:, 6], offsets[:, 6])


def test_absolute_actions_are_unwrapped_near_the_state() -> None:
    state = np.array([0, 0, 0, 6.2, 0, 0.1], np.float32)
    actions = np.array([[1, 2, 3, 0.1, 0.2, 6.2, -1]], np.float32)
    absolute = absolute_actions(actions, state, delta_columns=0)
    np.testing.assert_allclose(
        absolute, [[1, 2, 3, 0.1 + 2 * np.pi, 0.2, 6.2 - 2 * np.pi, -1]], atol=1e-6
    )


def test_damaged_bundles_do_not_load(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        Policy.load(tmp_path)
    bundle = copy_of_tiny_bundle(tmp_path)
    onnx = bundle / "onnx" / "prefix.onnx"
    onnx.write_bytes(onnx.read_bytes()[:-1000])
    with pytest.raises(BundleError, match=r"prefix\.onnx is not the file that was exported"):
        Policy.load(bundle)


def test_an_onnx_that_the_backend_cannot_read_is_one_error(tmp_path: Path) -> None:
    from dvla.engines.bundle import read_bundle
    from dvla.engines.onnxruntime_ import OnnxRuntimeEngine

    bundle = read_bundle(tiny_bundle())
    truncated = tmp_path / "prefix.onnx"
    truncated.write_bytes(bundle.onnx_path("prefix").read_bytes()[:-1000])
    with pytest.raises(BundleError, match="ONNX Runtime cannot load"):
        OnnxRuntimeEngine(bundle.graph("prefix"), truncated).load()
    other = msgspec.structs.replace(bundle.graph("prefix"), outputs=())
    with pytest.raises(BundleError, match="does not declare"):
        OnnxRuntimeEngine(other, bundle.onnx_path("prefix")).load()


def test_the_policy_runs_without_torch() -> None:
    code = f"""
import sys
import numpy as np
from dvla import Observation, Policy
policy = Policy.load({str(tiny_bundle())!r}, threads=1)
frames = np.zeros((2, 90, 120, 3), np.uint8)
images = dict.fromkeys({CAMERAS!r}, frames)
chunk = policy.predict(Observation(images=images, state=np.zeros((2, 6), np.float32)), seed=0)
assert np.isfinite(chunk.actions).all()
loaded = {{"torch", "onnx", "onnxscript", "safetensors"}} & set(sys.modules)
loaded |= {{name for name in sys.modules if name.startswith("dvla.export")}}
assert not loaded, loaded
print("ran")
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "ran\n", result.stderr
