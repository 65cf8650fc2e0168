"""Evidence of a set-up in order, to be spoiled in one place at a time."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from arm_doubles import LIMITS

from dvla.engines.manifest import Normalisation
from dvla.runtime.percentiles import Percentiles
from dvla.runtime.pose import quaternion_from_euler
from dvla.runtime.preflight.evidence import BundleEvidence, CameraEvidence, Evidence

STATE = (0.45, 0.02, 0.3, 3.1, 0.05, 1.2)
OPST, WRIST = "observation.images.opst_cam", "observation.images.wrist_cam"


def spread(p50: float, p95: float, p99: float, top: float, count: int = 500) -> Percentiles:
    return Percentiles(count=count, p50=p50, p95=p95, p99=p99, max=top)


def statistics(**changes: Any) -> Normalisation:
    base = Normalisation(
        state_mean=(0.46, 0.0, 0.32, 3.12, 0.0, 1.3),
        state_std=(0.05, 0.06, 0.05, 0.1, 0.1, 0.2),
        action_mean=(0.001, 0.0, -0.002, 0.0, 0.0, 0.0, 0.2),
        action_std=(0.02, 0.02, 0.02, 0.05, 0.05, 0.05, 0.9),
        provenance="the checkpoint's buffers",
    )
    return msgspec.structs.replace(base, **changes)


def bundle(**changes: Any) -> BundleEvidence:
    base = BundleEvidence(
        name="my.bundle",
        normalisation=statistics(),
        delta_columns=6,
        engine="onnxruntime fp32",
        judged_on="recorded",
    )
    return msgspec.structs.replace(base, **changes)


def camera(name: str = OPST, **changes: Any) -> CameraEvidence:
    other = WRIST if name == OPST else OPST
    base = CameraEvidence(
        name=name, wanted=(360, 480), found=(360, 480), frames=500, looked=40, distinct=39,
        frame_hz=25.0, mean=120.0, deviation=40.0, likeness={name: 0.95, other: 0.1},
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def evidence(**changes: Any) -> Evidence:
    states = np.repeat(np.array(STATE)[None], 100, axis=0)
    base = Evidence(
        states=states,
        quaternions=quaternion_from_euler(states[:, 3:6]),
        first_steps_m=np.full(30, 0.008),
        first_turns_rad=np.full(30, 0.02),
        offsets=np.tile([0.008, 0.0, 0.0], (30, 1)),
        start_pose=(),
        chunk_s=0.8,
        period_s=0.04,
        delay_s=spread(0.12, 0.15, 0.18, 0.2),
        accepted=4990,
        rejected={"linear_velocity": 10},
        lateness_s=spread(3e-5, 5e-5, 1e-4, 8e-4, 5000),
        servo_period_s=0.004,
        overruns=0,
        ticks=5000,
        realtime={"servo": "SCHED_FIFO 20", "arm": "SCHED_FIFO 30"},
        arm_mode="follow",
        arm_reason="",
        limits=LIMITS,
        cameras=(camera(OPST), camera(WRIST)),
        free_bytes=50 << 30,
        wanted_bytes=2 << 30,
        clock_bound_s=0.0,
        bundle=bundle(),
    )
    return msgspec.structs.replace(base, **changes)
