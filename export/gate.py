"""The gate: an engine's actions against those of the fp32 torch model, on the same observations.

Two errors must be within the limit. The *relative error* is max|a - b| / max|b| over a case's
actions in physical units. The gripper's column, of order one, would hide an error of millimetres
there, so the *normalised error* asks the same in the network's own units (divided by each column's
standard deviation), where every column counts alike.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import ExportMismatch
from dvla.engines.manifest import ColumnError, Normalisation, PolicyFacts, Verification
from dvla.engines.pipeline import ActionPipeline
from dvla.export.reduced_gate import judged_as_reduced
from dvla.export.reference import Reference

FP32_LIMIT = 1e-4
# Un-normalised columns cannot be compared more finely than their own float32 numbers are spaced.
_ROUNDING_ULPS = 4.0
_EPS = 1e-8
# Stands for the error of an action that is not a number; JSON has no infinity.
_NOT_FINITE = 1e30


def verify(
    pipeline: ActionPipeline,
    reference: Reference,
    facts: PolicyFacts,
    normalisation: Normalisation,
    limit: float = FP32_LIMIT,
    reduced: bool = False,
) -> Verification:
    """Run loaded engines on every case of the reference and compare their actions.

    Args:
        pipeline: the engines, loaded.
        reference: observations and the model's actions.
        facts: names and units of the columns.
        normalisation: statistics of the columns.
        limit: largest error that passes.
        reduced: judge by the limits of reduced precision instead (``dvla.export.reduced_gate``).
    """
    found, durations_s = [], []
    for case in range(len(reference)):
        started_s = time.perf_counter()
        found.append(
            pipeline.run(
                reference.frames[case],
                reference.token_ids[case],
                reference.token_mask[case],
                reference.state[case],
                reference.noise[case],
                reference.prev_actions[case],
                reference.prev_weight[case],
            )
        )
        durations_s.append(time.perf_counter() - started_s)
    actions, latency_s = np.stack(found), float(np.median(durations_s))
    compared = compare(actions, reference, facts, normalisation, limit, latency_s)
    if not reduced:
        return compared
    return judged_as_reduced(compared, actions, reference, facts, normalisation)


def compare(
    actions: NDArray[np.float32],
    reference: Reference,
    facts: PolicyFacts,
    normalisation: Normalisation,
    limit: float,
    latency_s: float,
) -> Verification:
    """Return the verification of actions (N, H, A) that an engine gave for the reference."""
    wanted = reference.actions.astype(np.float64)
    error = np.abs(actions.astype(np.float64) - wanted)
    error = np.where(np.isfinite(error), error, _NOT_FINITE)
    relative = _worst_relative(error, np.abs(wanted))
    mean, std = np.array(normalisation.action_mean), np.array(normalisation.action_std) + _EPS
    rounding = _ROUNDING_ULPS * np.finfo(np.float32).eps * np.abs(wanted).max(axis=(0, 1))
    in_network_units = np.maximum(error - rounding, 0.0) / std
    normalised = _worst_relative(in_network_units, np.abs(wanted - mean) / std)
    return Verification(
        frames=reference.source,
        origin=reference.origin,
        cases=len(reference),
        relative_error=relative,
        normalised_error=normalised,
        limit=limit,
        columns=column_errors(error, facts),
        passed=relative <= limit and normalised <= limit,
        latency_s=latency_s,
    )


def column_errors(error: NDArray[np.float64], facts: PolicyFacts) -> tuple[ColumnError, ...]:
    """Return the errors of each action column of absolute differences (N, H, A)."""
    return tuple(
        ColumnError(
            name=name,
            units=units,
            max_error=float(error[..., column].max()),
            p99_error=float(np.percentile(error[..., column], 99)),
        )
        for column, (name, units) in enumerate(
            zip(facts.action_names, facts.action_units, strict=True)
        )
    )


def _worst_relative(error: NDArray[np.float64], size: NDArray[np.float64]) -> float:
    """Return the largest error of a case by its largest size, over all cases."""
    per_case = error.max(axis=(1, 2)) / np.maximum(size.max(axis=(1, 2)), _EPS)
    return float(per_case.max())


def require_passed(verification: Verification, backend: str) -> None:
    """Raise an ExportMismatch with the errors per column, unless the verification passed."""
    if verification.passed:
        return
    columns = ", ".join(
        f"{column.name} {column.max_error:.3g}{'' if column.units == '-' else ' ' + column.units}"
        for column in verification.columns
    )
    raise ExportMismatch(
        f"The actions of the {backend} engine are not the model's on {verification.cases} "
        f"{verification.frames} observations",
        got=f"relative error {verification.relative_error:.3g} (in the network's units "
        f"{verification.normalised_error:.3g}); largest per column: {columns}",
        expected="; ".join(verification.findings) or f"at most {verification.limit:g}",
        next_command="keep fp32, or let --precision auto choose by evidence"
        if verification.gate == "reduced"
        else "no runnable bundle was written; run again with --debug and report it",
    )
