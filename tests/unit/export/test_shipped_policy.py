"""The policy that ships: its bundle is what an export of its checkpoint gives."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from dvla.engines.bundle import read_bundle
from dvla.export.checkpoint import load_checkpoint, load_policy
from dvla.export.reference import load_reference, with_actions
from dvla.training.presets import NANO

CHECKPOINT = Path(__file__).parents[3] / "policies" / "nano"
BUNDLE = CHECKPOINT.with_suffix(".bundle")


def test_the_checkpoint_is_the_bundles_source() -> None:
    checkpoint, manifest = load_checkpoint(CHECKPOINT), read_bundle(BUNDLE).manifest
    weights = (CHECKPOINT / "model.safetensors").read_bytes()
    assert checkpoint.arch == NANO
    assert manifest.policy.robot_type == checkpoint.config.robot_type == "franka"
    assert manifest.source.sha256 == hashlib.sha256(weights).hexdigest()
    tokenizer = "tokenizer.json"
    assert (CHECKPOINT / tokenizer).read_bytes() == (BUNDLE / tokenizer).read_bytes()


def test_the_checkpoint_acts_as_the_bundles_reference() -> None:
    reference = load_reference(BUNDLE / "reference.npz")
    again, _ = with_actions(reference, load_policy(CHECKPOINT))
    assert np.abs(again.actions - reference.actions).max() < 1e-4
