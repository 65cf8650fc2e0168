"""The gate of reduced precision: limits that mean something to an arm.

bfloat16 keeps eight bits, so that 1e-4 is out of reach. On real observations the errors are
judged in millimetres, degrees and gripper decisions. Synthetic weights have no millimetres worth
the name; there, errors are judged by the standard deviation of each action column.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.manifest import Normalisation, PolicyFacts, Verification
from dvla.export.reference import Reference

POSITION_P99_M, POSITION_MAX_M = 1e-3, 3e-3
ROTATION_P99_RAD, ROTATION_MAX_RAD = np.deg2rad(0.3), np.deg2rad(1.0)
GRIPPER_DECIDED = 0.1
DEVIATION_P99 = 0.03
_POSITION, _ROTATION, _GRIPPER = slice(0, 3), slice(3, 6), 6
_EPS = 1e-8


def judged_as_reduced(
    found: Verification,
    actions: NDArray[np.float32],
    reference: Reference,
    facts: PolicyFacts,
    normalisation: Normalisation,
) -> Verification:
    """Return a verification with the verdict of the limits for reduced precision.

    Args:
        found: the verification of ``compare``, whose measured errors stay as they are.
        actions: (N, H, A) of the engine.
        reference: the observations and the model's actions.
        facts: names of the columns.
        normalisation: statistics of the columns.
    """
    got, wanted = actions.astype(np.float64), reference.actions.astype(np.float64)
    if not np.isfinite(got).all():
        findings = ["actions that are not finite"]
    elif reference.source == "recorded":
        findings = _on_an_arm(got, wanted)
    else:
        findings = _by_deviation(got, wanted, facts, normalisation)
    return msgspec.structs.replace(
        found, gate="reduced", findings=tuple(findings), passed=not findings, limit=DEVIATION_P99
    )


def _on_an_arm(got: NDArray[np.float64], wanted: NDArray[np.float64]) -> list[str]:
    """Return which errors of position, rotation and gripper are over their limits."""
    error = got - wanted
    wrapped = np.arctan2(np.sin(error[..., _ROTATION]), np.cos(error[..., _ROTATION]))
    position_m = np.linalg.norm(error[..., _POSITION], axis=-1)
    rotation_rad = np.linalg.norm(wrapped, axis=-1)
    decided = np.abs(wanted[..., _GRIPPER]) > GRIPPER_DECIDED
    flips = int(np.sum(decided & (got[..., _GRIPPER] * wanted[..., _GRIPPER] <= 0)))
    measured = (
        ("position p99", np.percentile(position_m, 99) * 1e3, POSITION_P99_M * 1e3, "mm"),
        ("position max", position_m.max() * 1e3, POSITION_MAX_M * 1e3, "mm"),
        ("rotation p99", *np.rad2deg((np.percentile(rotation_rad, 99), ROTATION_P99_RAD)), "deg"),
        ("rotation max", *np.rad2deg((rotation_rad.max(), ROTATION_MAX_RAD)), "deg"),
    )
    findings = [
        f"{name} {value:.3g} {units}, limit {limit:.3g} {units}"
        for name, value, limit, units in measured
        if value > limit
    ]
    return [*findings, f"{flips} gripper decisions flipped, limit 0"] if flips else findings


def _by_deviation(
    got: NDArray[np.float64],
    wanted: NDArray[np.float64],
    facts: PolicyFacts,
    normalisation: Normalisation,
) -> list[str]:
    """Return which columns' p99 error is over 3 % of the column's standard deviation."""
    deviations = np.abs(got - wanted) / (np.array(normalisation.action_std) + _EPS)
    p99 = np.percentile(deviations, 99, axis=(0, 1))
    return [
        f"{name} p99 {value:.2%} of its standard deviation, limit {DEVIATION_P99:.0%}"
        for name, value in zip(facts.action_names, p99, strict=True)
        if value > DEVIATION_P99
    ]
