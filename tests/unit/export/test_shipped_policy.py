"""The policy that ships: its bundle is what an export of its checkpoint gives."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from dvla.engines.bundle import read_bundle
from dvla.export.checkpoint import load_checkpoint, load_policy
from dvla.export.reference import load_reference, with_actions
from dvla.training.presets import NANO

POLICIES = Path(__file__).parents[3] / "policies"


def test_the_checkpoint_is_the_bundles_source() -> None:
    checkpoint = load_checkpoint(POLICIES / "nano")
    assert checkpoint.arch == NANO
    manifest = read_bundle(POLICIES / "nano.bundle").manifest
    weights = (POLICIES / "nano/model.safetensors").read_bytes()
    assert manifest.source.sha256 == hashlib.sha256(weights).hexdigest()
    assert (POLICIES / "nano/tokenizer.json").read_bytes() == (
        POLICIES / "nano.bundle/tokenizer.json"
    ).read_bytes()


def test_the_checkpoint_acts_as_the_bundles_reference() -> None:
    reference = load_reference(POLICIES / "nano.bundle" / "reference.npz")
    again, _ = with_actions(reference, load_policy(POLICIES / "nano"))
    assert np.abs(again.actions - reference.actions).max() < 1e-4
