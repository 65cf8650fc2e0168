"""A tiny bundle, exported once per test session, and copies of it to damage."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from golden_model import TINY_CHECKPOINT, Golden
from numpy.typing import NDArray

from dvla.engines.bundle import MANIFEST_NAME
from dvla.engines.tensors import GraphSpec
from dvla.export.build import ExportOptions, export_bundle
from dvla.export.facts import default_camera_size, policy_facts
from dvla.export.model.policy import DynamicVla
from dvla.export.onnx_export import write_denoise
from dvla.export.prefix_graph import prefix_spec
from dvla.export.progress import Progress
from dvla.export.reference import synthetic_inputs
from dvla.export.resize import Size
from dvla.export.step_graph import step_spec
from dvla.export.synthetic import ARCHS, synthetic_checkpoint, synthetic_policy_config
from dvla.export.synthetic_tokenizer import write_byte_tokenizer
from dvla.runtime.observation import Observation

NANO_CHECKPOINT = Path(__file__).parents[1] / "policies" / "nano"
NANO_BUNDLE = NANO_CHECKPOINT.with_suffix(".bundle")


@functools.cache
def scratch() -> Path:
    """Return a folder that is removed when the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="dvla-bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def tokenizer() -> Path:
    """Return a byte-level tokenizer for the tiny vocabulary."""
    path = scratch() / "tokenizer.json"
    write_byte_tokenizer(path, 512)
    return path


@functools.cache
def tiny_bundle() -> Path:
    """Return the exported tiny checkpoint; it is shared, so do not change it."""
    bundle = scratch() / "tiny.bundle"
    export_bundle(TINY_CHECKPOINT, bundle, ExportOptions(tokenizer=tokenizer()), Progress())
    return bundle


@functools.cache
def full_checkpoint() -> Path:
    """Return a checkpoint of the full size with synthetic weights; it is shared too."""
    return synthetic_checkpoint("full", scratch() / "full")


@functools.cache
def full_bundle() -> Path:
    """Return the bundle of the full size, which takes a minute; it is shared too."""
    bundle = scratch() / "full.bundle"
    seen = one_observation(scratch() / "full.npz")
    export_bundle(full_checkpoint(), bundle, ExportOptions(observations=seen), Progress())
    return bundle


def one_observation(path: Path) -> Path:
    """Write an observation of the full size: the gate of a big model need not take five."""
    config = synthetic_policy_config("full")
    facts = policy_facts(config, ARCHS["full"], default_camera_size(config))
    made = synthetic_inputs(facts, cases=1)
    names = ("frames", "token_ids", "token_mask", "state", "noise")
    np.savez(path, **{name: getattr(made, name) for name in names})
    return path


def tiny_graphs(
    policy: DynamicVla, camera: Size, units: tuple[str, ...], folder: Path, stage: Any
) -> tuple[GraphSpec, ...]:
    """Do what ``write_graphs`` does for the tiny checkpoint, without tracing it once more.

    The prefix and the step are those of the tiny bundle, whatever the number of steps is.
    """
    folder.mkdir(parents=True)
    for path in (tiny_bundle() / "onnx").glob("*"):
        if path.name.startswith(("prefix.onnx", "step.onnx")):
            shutil.copy(path, folder)
    denoise = write_denoise(policy, units, folder)
    return prefix_spec(policy, camera), step_spec(policy), denoise


def copy_of_tiny_bundle(folder: Path) -> Path:
    """Return a copy of the tiny bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle(), folder / "copy.bundle"))


def edit_manifest(bundle: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change a bundle's manifest as plain data."""
    path = bundle / MANIFEST_NAME
    data = msgspec.json.decode(path.read_bytes())
    edit(data)
    path.write_bytes(msgspec.json.encode(data))


def golden_observation(golden: Golden, bundle_cameras: tuple[str, ...], config: Any) -> Observation:
    """Return the observation of a golden vector, with its own token ids."""
    frames = golden.frames(config)
    return Observation(
        images={key: frames[key][0].numpy() for key in bundle_cameras},
        state=golden["in_state_raw"][0],
        token_ids=tuple(int(token) for token in golden["in_tokens"][0]),
        t_obs_ns=123,
    )


def golden_noise(golden: Golden) -> NDArray[np.float32]:
    """Return the initial noise of a golden vector, (H, max_action_dim)."""
    return np.array(golden["in_noise"][0])
