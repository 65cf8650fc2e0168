"""Checks of what the arm reports: is the start where the policy was trained to be, in its words?"""

from __future__ import annotations

import numpy as np

from dvla.runtime.pose import euler_from_quaternion
from dvla.runtime.preflight.evidence import Evidence, Float64
from dvla.runtime.preflight.finding import Finding, missing, ok, skipped

STATE_NAMES = ("x", "y", "z", "rx", "ry", "rz")
WRAPPED = (3, 5)
WARN_Z, FAIL_Z = 3.0, 6.0
MIN_STATES = 20
STD_FLOOR = 1e-6
AGREE_RAD = 1e-3


def z_scores(
    state: Float64, mean: tuple[float, ...], std: tuple[float, ...], *, turns: bool = False
) -> Float64:
    """Return how many deviations a state (6,) is from the statistics' mean.

    Args:
        state: [m, rad].
        mean, std: of the checkpoint, at least 6 columns.
        turns: compare rx and rz to whole turns: the nearest equal angle.
    """
    difference = state - np.array(mean[:6])
    if turns:
        for column in WRAPPED:
            difference[column] -= 2 * np.pi * np.round(difference[column] / (2 * np.pi))
    scores: Float64 = difference / np.maximum(np.array(std[:6]), STD_FLOOR)
    return scores


def check_start_pose(evidence: Evidence) -> Finding:
    """Is the pose at which the policy starts one that it has been trained from?"""
    name = "start pose"
    if evidence.bundle is None:
        return skipped(name, "no network, so no statistics to compare with")
    if len(evidence.states) < MIN_STATES:
        return missing(name, f"{len(evidence.states)} arm states")
    seen = np.array(evidence.states[-1])
    start = np.array(evidence.start_pose) if evidence.start_pose else seen
    for column in WRAPPED:
        start[column] %= 2 * np.pi
    statistics = evidence.bundle.normalisation
    scores = z_scores(start, statistics.state_mean, statistics.state_std, turns=True)
    worst = int(np.abs(scores).argmax())
    told = ", ".join(f"{n} {z:+.1f}" for n, z in zip(STATE_NAMES, scores, strict=True))
    got = f"deviations from the checkpoint's mean state: {told}"
    if abs(scores[worst]) <= WARN_Z:
        return ok(name, got)
    unit = "m" if worst < 3 else "rad"
    return Finding(
        check=name,
        level="fail" if abs(scores[worst]) > FAIL_Z else "warn",
        got=got,
        expected=f"within {WARN_Z:g} (fail beyond {FAIL_Z:g}); {STATE_NAMES[worst]} of "
        f"{statistics.state_mean[worst]:.3f} ± {statistics.state_std[worst]:.3f} {unit}",
        next_command="start elsewhere: --start-pose X Y Z RX RY RZ, near the mean of the "
        "checkpoint's states, and run in shadow there",
    )


def check_seen_where_it_starts(evidence: Evidence) -> Finding:
    """Was the shadow run at the start pose? What it saw elsewhere says less."""
    name = "shadow at the start pose"
    if not evidence.start_pose:
        return ok(name, "the policy starts where the arm stands")
    if len(evidence.states) < MIN_STATES:
        return missing(name, f"{len(evidence.states)} arm states")
    seen, start = evidence.states[-1], np.array(evidence.start_pose)
    away_m = float(np.linalg.norm(seen[:3] - start[:3]))
    if away_m <= 0.05:
        return ok(name, f"{1e3 * away_m:.0f} mm from it")
    return Finding(
        check=name,
        level="warn",
        got=f"the arm stood {1e3 * away_m:.0f} mm from the start pose",
        expected="at most 50 mm: the policy's actions were judged from where it stood",
        next_command="move the arm near its start pose by hand and run in shadow again",
    )


def check_euler_wrap(evidence: Evidence) -> Finding:
    """Do the arm's angles mean what the checkpoint's do: extrinsic xyz, rx and rz in [0, 2 pi)?"""
    name = "Euler convention"
    states = evidence.states
    if len(states) < MIN_STATES:
        return missing(name, f"{len(states)} arm states")
    angles = states[:, 3:6]
    inside = ((angles[:, [0, 2]] >= 0.0) & (angles[:, [0, 2]] < 2 * np.pi)).all()
    if not inside or (np.abs(angles[:, 1]) > np.pi / 2 + 1e-6).any():
        return Finding(
            check=name,
            level="fail",
            got=f"angles from {angles.min():.2f} to {angles.max():.2f} rad",
            expected="rx and rz in [0, 2 pi), ry in [-pi/2, pi/2]",
            next_command="the driver's conversion is wrong: report it",
        )
    again = euler_from_quaternion(evidence.quaternions)
    apart = np.abs((angles - again + np.pi) % (2 * np.pi) - np.pi).max()
    if apart > AGREE_RAD:
        return Finding(
            check=name,
            level="fail",
            got=f"the states' angles are {apart:.3f} rad from the measured attitude's",
            expected=f"at most {AGREE_RAD} rad: extrinsic xyz of the same quaternion",
            next_command="the driver's conversion is wrong: report it",
        )
    return _against_statistics(evidence, name)


def _against_statistics(evidence: Evidence, name: str) -> Finding:
    """Judge whether the checkpoint's angles are wrapped as ours are."""
    told = "extrinsic xyz, rx and rz in [0, 2 pi), as the measured attitude says"
    if evidence.bundle is None:
        return ok(name, told)
    statistics = evidence.bundle.normalisation
    state = evidence.states[-1]
    raw = z_scores(state, statistics.state_mean, statistics.state_std)
    turned = z_scores(state, statistics.state_mean, statistics.state_std, turns=True)
    for column in WRAPPED:
        mean = statistics.state_mean[column]
        angle = STATE_NAMES[column]
        if not 0.0 <= mean < 2 * np.pi:
            return Finding(
                check=name,
                level="fail",
                got=f"the checkpoint's mean {angle} is {mean:.2f} rad",
                expected="in [0, 2 pi): it was trained with angles wrapped in another way",
                next_command="retrain, or export with statistics of wrapped angles",
            )
        if abs(raw[column]) > FAIL_Z and abs(turned[column]) <= WARN_Z:
            return Finding(
                check=name,
                level="fail",
                got=f"{angle} = {state[column]:.2f} rad is {raw[column]:+.0f} deviations from the "
                f"checkpoint's mean {mean:.2f}, but a whole turn away from it",
                expected="the same angle to be the same number in training and on the arm",
                next_command=f"turn the start pose away from the seam of {angle} at 0 and 2 pi",
            )
    near = [STATE_NAMES[c] for c in WRAPPED if min(state[c], 2 * np.pi - state[c]) < 0.1]
    if near:
        return Finding(
            check=name,
            level="warn",
            got=f"{told}; {' and '.join(near)} within 0.1 rad of the seam at 0 and 2 pi, where the "
            "policy's input jumps",
            expected="a start pose away from the seam, unless the policy was trained across it",
            next_command="look whether the state jumps in the shadow run's report",
        )
    return ok(name, told)
