"""Every check: passes a set-up in order, and names the one thing that is wrong."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
import numpy as np
import pytest
from arm_doubles import LIMITS
from hypothesis import given
from hypothesis import strategies as st
from preflight_evidence import OPST, STATE, WRIST, bundle, camera, evidence, spread, statistics

from dvla.runtime.pose import quaternion_from_euler
from dvla.runtime.preflight.checks import check_all
from dvla.runtime.preflight.finding import Finding, lines, worst
from dvla.runtime.preflight.host_checks import check_latency


def findings(**changes: Any) -> dict[str, Finding]:
    found = check_all(evidence(**changes))
    assert len({finding.check for finding in found}) == len(found), "a name stands twice"
    return {finding.check: finding for finding in found}


def at(state: tuple[float, ...]) -> dict[str, Any]:
    states = np.repeat(np.array(state)[None], 100, axis=0)
    return {"states": states, "quaternions": quaternion_from_euler(states[:, 3:6])}


def test_a_set_up_in_order_passes_everything() -> None:
    assert {finding.level for finding in findings().values()} == {"ok"}
    assert worst(findings().values()) == "ok"


def test_without_a_network_its_checks_are_skipped_and_the_others_are_not() -> None:
    found = findings(bundle=None)
    skipped = {name for name, finding in found.items() if finding.level == "skipped"}
    assert skipped == {"engine", "tokenizer", "normalisation", "start pose"}
    assert worst(found.values()) == "ok"


SPOILED: dict[str, tuple[dict[str, Any], str, str, str]] = {
    # what: (changes, check, level, words)
    "start far away": (at((0.9, *STATE[1:])), "start pose", "fail", r"x \+8\.8"),
    "start unusual": (at((0.66, *STATE[1:])), "start pose", "warn", r"x \+4\.0"),
    "configured start": ({"start_pose": (0.9, 0, 0.3, 3.1, 0, 1.3)}, "start pose", "fail", r"\+8"),
    "shadow elsewhere": (
        {"start_pose": (0.55, 0.0, 0.3, 3.1, 0.0, 1.3)}, "shadow at the start pose", "warn", "102",
    ),
    "angles below 0": (
        {"states": np.full((100, 6), -1.0)}, "Euler convention", "fail", r"-1\.00",
    ),
    "other convention": (
        {"quaternions": np.tile([1.0, 0, 0, 0], (100, 1))}, "Euler convention", "fail", "from",
    ),
    "statistics wrapped otherwise": (
        {"bundle": bundle(normalisation=statistics(state_mean=(0.46, 0, 0.32, 3.12, 0, -1.3)))},
        "Euler convention", "fail", r"mean rz is -1\.30",
    ),
    "a whole turn away": (
        {**at((0.45, 0.0, 0.3, 0.02, 0.0, 1.2)),
         "bundle": bundle(normalisation=statistics(state_mean=(0.46, 0, 0.32, 6.2, 0, 1.3)))},
        "Euler convention", "fail", "whole turn",
    ),
    "at the seam": (
        {**at((0.45, 0.0, 0.3, 3.1, 0.0, 6.25)),
         "bundle": bundle(normalisation=statistics(state_mean=(0.46, 0, 0.32, 3.12, 0, 6.1)))},
        "Euler convention", "warn", "rz within 0.1 rad",
    ),
    "poses taken for offsets": (
        {"first_steps_m": np.full(30, 0.54), "offsets": np.tile([0.45, 0.02, 0.3], (30, 1))},
        "delta or absolute", "fail", "offsets added",
    ),
    "offsets taken for poses": (
        {"bundle": bundle(delta_columns=0), "first_steps_m": np.full(30, 0.54),
         "offsets": np.tile([-0.45, -0.02, -0.3], (30, 1))},
        "delta or absolute", "fail", "absolute poses",
    ),
    "a little off": (
        {"first_steps_m": np.full(30, 0.1)}, "delta or absolute", "warn", "100 mm",
    ),
    "no chunks": (
        {"first_steps_m": np.zeros(2), "first_turns_rad": np.zeros(2), "offsets": np.zeros((2, 3))},
        "delta or absolute", "fail", "2 chunks",
    ),
    "nan statistics": (
        {"bundle": bundle(normalisation=statistics(state_mean=(math.nan,) * 6))},
        "normalisation", "fail", "nan",
    ),
    "zero deviation": (
        {"bundle": bundle(normalisation=statistics(action_std=(0.0,) * 7))},
        "normalisation", "fail", "down to 0",
    ),
    "identity": (
        {"bundle": bundle(normalisation=statistics(
            state_mean=(0.0,) * 6, state_std=(1.0,) * 6, action_mean=(0.0,) * 7,
            action_std=(1.0,) * 7))},
        "normalisation", "fail", "means 0 and deviations 1",
    ),
    "millimetres": (
        {"bundle": bundle(normalisation=statistics(state_mean=(460.0, 0, 320, 3, 0, 1)))},
        "normalisation", "fail", "460",
    ),
    "released statistics": (
        {"bundle": bundle(normalisation=statistics(
            action_mean=(0.47, 0.01, 0.31, 3.1, 0, 1.3, 0.2)))},
        "normalisation", "warn", "look like poses",
    ),
    "99.6 % rejected": (
        {"accepted": 20, "rejected": {"workspace": 4900, "linear_jerk": 80}},
        "commands", "fail", "workspace 4900",
    ),
    "nothing judged": ({"accepted": 0, "rejected": {}}, "commands", "fail", "0 commands"),
    "too slow": ({"delay_s": spread(0.7, 0.9, 1.0, 1.1)}, "latency", "fail", "0 are left"),
    "nearly too slow": ({"delay_s": spread(0.4, 0.5, 0.6, 0.7)}, "latency", "warn", "7 are left"),
    "late servo": ({"lateness_s": spread(1e-3, 5e-3, 1e-2, 3e-2)}, "servo", "fail", "10.00 ms"),
    "jittery servo": ({"lateness_s": spread(1e-4, 1e-3, 3e-3, 5e-3)}, "servo", "warn", "3.00 ms"),
    "no priorities": (
        {"realtime": {"servo": "ordinary scheduler", "arm": "SCHED_FIFO 30"}},
        "real-time", "warn", "ordinary",
    ),
    "engine never ran": (
        {"bundle": bundle(engine_problem="status 'compiled, not run'")},
        "engine", "fail", "compiled, not run",
    ),
    "synthetic gate": ({"bundle": bundle(judged_on="synthetic")}, "engine", "warn", "synthetic"),
    "other tokenizer": (
        {"bundle": bundle(tokenizer_problem="sha256 abc...")}, "tokenizer", "fail", "abc",
    ),
    "full disk": ({"free_bytes": 1 << 20}, "disk", "fail", "0.0 GiB free"),
    "small disk": ({"free_bytes": 1 << 30}, "disk", "warn", "1.0 GiB free"),
    "loose clock": ({"clock_bound_s": 0.0061}, "clock", "fail", "6.10 ms"),
    "fault": ({"arm_mode": "fault", "arm_reason": "reflex"}, "arm", "fail", "reflex"),
    "wild limits": (
        {"limits": msgspec.structs.replace(LIMITS, max_start_distance_m=100.0)},
        "limits", "fail", "100",
    ),
    "expired override": ({"overrides": {"linear_velocity": -5.0}}, "limits", "fail", "expired"),
    "running override": ({"overrides": {"linear_velocity": 600.0}}, "limits", "warn", "10 min"),
    "black": (
        {"cameras": (camera(OPST, mean=2.0, deviation=1.0), camera(WRIST))},
        "camera opst_cam", "fail", "black",
    ),
    "frozen": (
        {"cameras": (camera(OPST), camera(WRIST, distinct=0))},
        "camera wrist_cam", "fail", "the same picture 40 times",
    ),
    "twin at rest": (
        {"cameras": (camera(OPST), camera(WRIST, distinct=0, noisy=False))},
        "camera wrist_cam", "warn", "the same picture 40 times",
    ),
    "wrong size": (
        {"cameras": (camera(OPST, found=(480, 640)), camera(WRIST))},
        "camera opst_cam", "fail", "640x480",
    ),
    "slow camera": (
        {"cameras": (camera(OPST, frame_hz=4.0), camera(WRIST))}, "camera opst_cam", "warn", "4.0",
    ),
    "silent camera": (
        {"cameras": (camera(OPST, looked=0), camera(WRIST))}, "camera opst_cam", "fail", "0 pict",
    ),
    "swapped": (
        {"cameras": (camera(OPST, likeness={OPST: 0.1, WRIST: 0.9}),
                     camera(WRIST, likeness={OPST: 0.95, WRIST: 0.2}))},
        "camera roles", "fail", "opst_cam shows what wrist_cam showed",
    ),
    "moved": (
        {"cameras": (camera(OPST, likeness={OPST: 0.1, WRIST: 0.1}), camera(WRIST))},
        "camera roles", "warn", "opst_cam 0.10",
    ),
    "never confirmed": (
        {"cameras": (camera(OPST, likeness={}), camera(WRIST, likeness={}))},
        "camera roles", "warn", "nobody has confirmed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SPOILED)
def test_what_is_wrong_is_named_with_what_to_do(what: str) -> None:
    changes, check, level, words = SPOILED[what]
    found = findings(**changes)
    finding = found[check]
    assert finding.level == level, finding
    assert re.search(words, finding.got), finding.got
    if level == "fail":
        assert finding.expected, finding
    text = "\n".join(lines([finding]))
    assert finding.got in text and finding.next_command in text


@pytest.mark.parametrize("what", ["too slow", "frozen", "fault", "full disk", "other tokenizer"])
def test_one_fault_spoils_one_check(what: str) -> None:
    changes, check, _, _ = SPOILED[what]
    others = {n: f.level for n, f in findings(**changes).items() if n != check}
    assert set(others.values()) == {"ok"}, others


@given(st.floats(0.001, 5.0), st.integers(5, 40))
def test_a_chunk_that_would_be_stale_always_fails(p95_s: float, chunk: int) -> None:
    found = check_latency(
        evidence(delay_s=spread(p95_s, p95_s, p95_s, p95_s), chunk_s=chunk * 0.04)
    )
    assert (found.level == "fail") == (p95_s >= chunk * 0.04)
