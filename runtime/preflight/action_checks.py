"""Checks of what the policy asks for: offsets or poses, and statistics that can be true."""

from __future__ import annotations

import numpy as np

from dvla.runtime.preflight.evidence import BundleEvidence, Evidence
from dvla.runtime.preflight.finding import Finding, missing, ok, skipped

MIN_CHUNKS = 5
NEAR_M, FAR_M = 0.06, 0.2
"""A first action 40 ms ahead of an arm at rest: near it, or nowhere an arm could be by then."""
NEAR_RAD, FAR_RAD = 0.3, 1.0
POSE_LIKE_M = 0.25
MIN_ACCEPTED = 0.95
MIN_JUDGED = 200
MAX_STD_M, MIN_STD = 2.0, 1e-5
REACH_M = 2.0


def check_first_actions(evidence: Evidence) -> Finding:
    """Do the predicted actions begin where the arm is?"""
    name = "delta or absolute"
    steps, turns = evidence.first_steps_m, evidence.first_turns_rad
    if len(steps) < MIN_CHUNKS:
        return missing(name, f"{len(steps)} chunks")
    step_m, turn_rad = float(np.median(steps)), float(np.median(turns))
    delta = evidence.bundle is not None and evidence.bundle.delta_columns > 0
    kind = "offsets added to the state" if delta else "absolute poses"
    got = (
        f"{kind}; first actions {1e3 * step_m:.0f} mm, {turn_rad:.2f} rad from the state "
        f"(median of {len(steps)})"
    )
    if step_m <= NEAR_M and turn_rad <= NEAR_RAD:
        return ok(name, got)
    expected = f"within {1e3 * NEAR_M:.0f} mm and {NEAR_RAD} rad of an arm that stands"
    state = evidence.states[-1][:3] if len(evidence.states) else np.zeros(3)
    given = np.median(evidence.offsets, axis=0)
    if delta and np.linalg.norm(given - state) < POSE_LIKE_M < np.linalg.norm(given):
        expected += "; the network gives poses, and the state is added to them once too often"
        next_command = "export with use_delta_action false, if it was trained on absolute actions"
    elif evidence.bundle is not None and not delta and np.linalg.norm(given + state) < NEAR_M:
        expected += "; the network gives offsets, and they are taken for poses"
        next_command = "export with use_delta_action true, if it was trained on offsets"
    else:
        next_command = "look at the shadow run's report: wrong cameras, statistics or start pose?"
    far = step_m > FAR_M or turn_rad > FAR_RAD
    return Finding(
        check=name,
        level="fail" if far else "warn",
        got=got,
        expected=expected,
        next_command=next_command,
    )


def check_normalisation(evidence: Evidence) -> Finding:
    """Are the statistics there, finite, and of a size that an arm can have?"""
    if evidence.bundle is None:
        return skipped("normalisation", "no network")
    return judge_normalisation(evidence.bundle)


def judge_normalisation(bundle: BundleEvidence) -> Finding:
    """Judge a bundle's statistics."""
    name = "normalisation"
    statistics = bundle.normalisation
    source = f"from {statistics.provenance}"
    columns = {
        "state mean": statistics.state_mean,
        "state std": statistics.state_std,
        "action mean": statistics.action_mean,
        "action std": statistics.action_std,
    }
    for what, values in columns.items():
        if not values or not np.isfinite(values).all():
            return _implausible(name, f"{what} {values}, {source}", "finite numbers")
    for what in ("state std", "action std"):
        smallest = min(columns[what][:6])
        if smallest < MIN_STD:
            return _implausible(
                name,
                f"{what} goes down to {smallest:.2g}, {source}",
                "above 1e-5 in every column of the pose",
            )
        if max(columns[what][:3]) > MAX_STD_M:
            return _implausible(
                name, f"{what} of {max(columns[what][:3]):.2g} m, {source}", "below 2 m"
            )
    identity = all(np.allclose(columns[f"{k} mean"], 0.0) for k in ("state", "action"))
    if identity and np.allclose(statistics.state_std, 1.0):
        return _implausible(name, f"means 0 and deviations 1, {source}", "statistics of a data set")
    if max(abs(value) for value in statistics.state_mean[:3]) > REACH_M:
        return _implausible(
            name, f"a mean position of {statistics.state_mean[:3]} m, {source}", "within 2 m"
        )
    return _delta_statistics(bundle, name, source)


def _delta_statistics(bundle: BundleEvidence, name: str, source: str) -> Finding:
    """Judge action statistics that look like poses while the action is an offset."""
    statistics = bundle.normalisation
    mean, state = np.array(statistics.action_mean[:3]), np.array(statistics.state_mean[:3])
    spread = np.array(statistics.state_std[:3])
    pose_like = bool((np.abs(mean - state) < 2.0 * spread).all()) and np.linalg.norm(mean) > 0.1
    if bundle.delta_columns and pose_like:
        return Finding(
            check=name,
            level="warn",
            got=f"action statistics that look like poses (mean {mean.round(3).tolist()} m) while "
            f"the actions are offsets, {source}",
            expected="offsets of some centimetres; the released checkpoints are like this, so the "
            "check 'delta or absolute' decides",
            next_command="make sure that the statistics are those of the training",
        )
    return ok(name, f"finite and plausible, {source}")


def _implausible(name: str, got: str, expected: str) -> Finding:
    return Finding(
        check=name,
        level="fail",
        got=got,
        expected=expected,
        next_command="export again with the statistics of the training data",
    )


def check_acceptance(evidence: Evidence) -> Finding:
    """Would the arm have accepted the commands?"""
    name = "commands"
    judged = evidence.accepted + sum(evidence.rejected.values())
    if judged < MIN_JUDGED:
        return missing(name, f"{judged} commands judged")
    share = evidence.accepted / judged
    reasons = ", ".join(f"{reason} {n}" for reason, n in evidence.rejected.items() if n)
    got = f"{evidence.accepted} of {judged} would have been accepted"
    if share >= MIN_ACCEPTED:
        return ok(name, got + (f" (rejected: {reasons})" if reasons else ""))
    return Finding(
        check=name,
        level="fail",
        got=f"{got}; rejected: {reasons}",
        expected=f"at least {100 * MIN_ACCEPTED:.0f} %",
        next_command="workspace: start elsewhere; velocity and the like: --seam blend, or the "
        "policy asks for more than this arm's limits",
    )
