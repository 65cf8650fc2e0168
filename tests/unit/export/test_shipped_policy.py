"""The policies that ship: each bundle is what an export of its checkpoint gives."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dvla.engines.bundle import read_bundle
from dvla.export.checkpoint import load_checkpoint, load_policy
from dvla.export.reference import load_reference, with_actions
from dvla.training.presets import NANO

POLICIES = Path(__file__).parents[3] / "policies"
shipped = pytest.mark.parametrize("name", ["nano", "nano-varied"])


@shipped
def test_the_checkpoint_is_the_bundles_source(name: str) -> None:
    checkpoint = load_checkpoint(POLICIES / name)
    # nano was trained with an encoder that is narrower than the one that trainings begin with now.
    assert checkpoint.arch.vision.dims[:2] == ((16, 32) if name == "nano" else (32, 64))
    assert msgspec.structs.replace(checkpoint.arch, vision=NANO.vision) == NANO
    assert name == "nano" or checkpoint.arch == NANO
    manifest = read_bundle(POLICIES / f"{name}.bundle").manifest
    weights = (POLICIES / name / "model.safetensors").read_bytes()
    assert manifest.policy.robot_type == checkpoint.config.robot_type == "franka"
    assert manifest.source.sha256 == hashlib.sha256(weights).hexdigest()
    assert (POLICIES / name / "tokenizer.json").read_bytes() == (
        POLICIES / f"{name}.bundle" / "tokenizer.json"
    ).read_bytes()


@shipped
def test_the_checkpoint_acts_as_the_bundles_reference(name: str) -> None:
    reference = load_reference(POLICIES / f"{name}.bundle" / "reference.npz")
    again, _ = with_actions(reference, load_policy(POLICIES / name))
    assert np.abs(again.actions - reference.actions).max() < 1e-4
