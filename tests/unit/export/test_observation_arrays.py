"""Observations in an ``.npz``: any other file, and any that no policy takes, is one paragraph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_tools import tiny_bundle
from numpy.typing import NDArray

from dvla.engines.bundle import REFERENCE_NAME, read_bundle
from dvla.engines.errors import BundleError, UsageError
from dvla.engines.manifest import PolicyFacts
from dvla.export.reference import load_recorded_inputs, load_reference

Arrays = dict[str, NDArray[Any]]
RECORDED = ("frames", "token_ids", "token_mask", "state", "noise")


def facts() -> PolicyFacts:
    return read_bundle(tiny_bundle()).manifest.policy


def reference_arrays() -> Arrays:
    with np.load(tiny_bundle() / REFERENCE_NAME) as archive:
        return dict(archive)


def recorded() -> Arrays:
    return {name: reference_arrays()[name][:3] for name in RECORDED}


def one_state(arrays: Arrays) -> None:
    arrays["state"] = arrays["state"][:1]


def state_is_nan(arrays: Arrays) -> None:
    arrays["state"][1, 2] = np.nan


def noise_is_infinite(arrays: Arrays) -> None:
    arrays["noise"][0, 0, 0] = np.inf


def no_token(arrays: Arrays) -> None:
    arrays["token_mask"][2] = False


def gap(arrays: Arrays) -> None:
    arrays["token_mask"][0] = False
    arrays["token_mask"][0, [0, 2]] = True


def padded_on_the_left(arrays: Arrays) -> None:
    arrays["token_mask"][1] = False
    arrays["token_mask"][1, -3:] = True


def large_id(arrays: Arrays) -> None:
    arrays["token_ids"][0, 0] = 10**6


def negative_padding(arrays: Arrays) -> None:
    arrays["token_ids"][0, -1] = -1


OF_BOTH = [
    (one_state, "state of 1"),
    (state_is_nan, "state is not finite"),
    (noise_is_infinite, "noise is not finite"),
    (no_token, "not every token_mask"),
    (gap, "not every token_mask"),
    (padded_on_the_left, "not every token_mask"),
]


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_recorded_inputs(path, facts())
    text = str(caught.value)
    assert "\n" not in text and str(path) in text and "Expected" in text
    return text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        *OF_BOTH,
        (large_id, r"1000000. Expected 0 to 511"),
        (negative_padding, "vocabulary. Got -1"),
    ],
)
def test_observations_that_no_policy_takes_are_refused(
    spoil: Callable[[Arrays], None], message: str, tmp_path: Path
) -> None:
    arrays = recorded()
    np.savez(tmp_path / "seen.npz", **arrays)
    assert len(load_recorded_inputs(tmp_path / "seen.npz", facts()).frames) == 3
    spoil(arrays)
    np.savez(tmp_path / "seen.npz", **arrays)
    assert message in refusal(tmp_path / "seen.npz")


@pytest.mark.parametrize(("spoil", "message"), OF_BOTH)
def test_a_reference_that_no_policy_takes_is_damaged(
    spoil: Callable[[Arrays], None], message: str, tmp_path: Path
) -> None:
    arrays = reference_arrays()
    spoil(arrays)
    np.savez(tmp_path / "r.npz", **arrays)
    with pytest.raises(BundleError, match=message):
        load_reference(tmp_path / "r.npz")


def other_file(path: Path, kind: str) -> None:
    if kind == "one array":
        with path.open("wb") as file:
            np.save(file, recorded()["state"])
        return
    np.savez_compressed(path, **recorded())
    whole = path.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("state, noise")
    elif kind == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "bytes flipped":
        path.write_bytes(whole[:200] + bytes(byte ^ 0x55 for byte in whole[200:400]) + whole[400:])
    elif kind == "lacking":
        np.savez(path, state=recorded()["state"])
    else:
        path.unlink()


@pytest.mark.parametrize(
    "kind", ["one array", "empty", "text", "truncated", "bytes flipped", "lacking", "missing"]
)
def test_any_other_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "seen.npz"
    other_file(path, kind)
    assert "does not hold recorded observations" in refusal(path)
    with pytest.raises(BundleError, match="does not hold the reference"):
        load_reference(path)


def test_a_reference_of_an_unknown_source_is_damaged(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", **(reference_arrays() | {"source": np.array("dreamt")}))
    with pytest.raises(BundleError, match="dreamt"):
        load_reference(tmp_path / "r.npz")
