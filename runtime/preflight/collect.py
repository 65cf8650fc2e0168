"""From a shadow run's folder to evidence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.engines.bundle import TOKENIZER_NAME, Bundle, read_bundle
from dvla.engines.errors import DvlaError
from dvla.engines.selection import chosen_engine, is_runnable
from dvla.runtime.arm_samples import ARM_MODES
from dvla.runtime.clock import NS_PER_S
from dvla.runtime.events import ArmModeChanged, ChunkArrived
from dvla.runtime.limits import ArmLimits
from dvla.runtime.percentiles import percentiles
from dvla.runtime.pose import quaternion_from_euler, state_from_setpoint
from dvla.runtime.preflight.evidence import BundleEvidence, CameraEvidence, Evidence
from dvla.runtime.rotation import rotation_between
from dvla.runtime.run_data import RunData
from dvla.runtime.safety import QUIET_REASONS
from dvla.runtime.summary import RunSummary
from dvla.runtime.tokenizer import tokenizer_sha256

GIB = 1 << 30
RECORDED_BYTES_S = 400_000
"""What a run writes per second, video included, rounded up."""
MAX_STATES = 2000
IN_FAULT = "fault"


def bundle_evidence(path: Path, backend: str) -> BundleEvidence:
    """Return what can be known of a bundle without running it.

    Raises:
        BundleError: it is none.
    """
    bundle = read_bundle(path)
    manifest = bundle.manifest
    engine, engine_problem, judged_on = backend, "", ""
    try:
        chosen = chosen_engine(bundle, backend)
        engine = f"{backend} {'/'.join(sorted(set(chosen.precision.values())))}"
        judged_on = _judged_on(bundle, backend, chosen.precision)
    except DvlaError as error:
        engine_problem = str(error)
    return BundleEvidence(
        name=path.name,
        normalisation=manifest.normalisation,
        delta_columns=manifest.policy.delta_columns,
        engine=engine,
        engine_problem=engine_problem,
        tokenizer_problem=_tokenizer_problem(bundle),
        judged_on=judged_on,
    )


def _judged_on(bundle: Bundle, backend: str, precision: dict[str, str]) -> str:
    """Return what the engine that runs here was verified on."""
    for record in reversed(bundle.manifest.engines):
        same = record.key.backend == backend and record.key.precision == precision
        if same and is_runnable(record) and record.verification is not None:
            return record.verification.frames
    return ""


def _tokenizer_problem(bundle: Bundle) -> str:
    try:
        found = tokenizer_sha256(bundle.path / TOKENIZER_NAME)
    except (DvlaError, OSError) as error:
        return str(error)
    return "" if found == bundle.manifest.tokenizer_sha256 else f"sha256 {found[:16]}..."


def gather(
    data: RunData,
    summary: RunSummary,
    *,
    limits: ArmLimits,
    start_pose: tuple[float, ...],
    realtime: dict[str, str],
    cameras: tuple[CameraEvidence, ...],
    duration_s: float,
    bundle: BundleEvidence | None = None,
    clock_bound_s: float = 0.0,
    overrides: dict[str, float] | None = None,
) -> Evidence:
    """Return the evidence of a shadow run.

    Args:
        data, summary: of the run.
        limits: that the gate enforced.
        start_pose: (6,) where the policy is to start, or empty.
        realtime: what the processes were granted.
        cameras: as they were watched.
        duration_s: of the run that is to be recorded; 0: nobody knows.
        bundle: of the policy, where it has one.
        clock_bound_s: of the arm's clock.
        overrides: of the limits: name -> seconds left.
    """
    arm, manifest = data.arm, data.manifest
    chunks = [event for event in data.events if isinstance(event, ChunkArrived)]
    steps, turns, offsets = _first_actions(chunks, arm)
    stride = max(1, len(arm) // MAX_STATES)
    measured = np.asarray(arm["measured"][::stride], np.float64).reshape(-1, 8)
    delays = [(event.t_ns - event.t_obs_ns) / NS_PER_S for event in chunks]
    mode, reason = _arm_at_the_end(data)
    wanted = max(GIB, round((duration_s or 3600.0) * RECORDED_BYTES_S))
    return Evidence(
        states=state_from_setpoint(measured),
        quaternions=measured[:, 3:7],
        first_steps_m=steps,
        first_turns_rad=turns,
        offsets=offsets,
        start_pose=start_pose,
        chunk_s=manifest.chunk_size * manifest.control_period_s,
        period_s=manifest.control_period_s,
        delay_s=percentiles(np.array(delays)),
        accepted=summary.accepted,
        rejected={k: v for k, v in summary.rejected.items() if k not in QUIET_REASONS},
        lateness_s=summary.lateness_s,
        servo_period_s=1.0 / manifest.servo_rate_hz,
        overruns=summary.overruns,
        ticks=summary.servo_ticks,
        realtime=realtime,
        arm_mode=mode,
        arm_reason=reason,
        limits=limits,
        cameras=cameras,
        free_bytes=shutil.disk_usage(data.folder.path).free,
        wanted_bytes=wanted,
        clock_bound_s=clock_bound_s,
        bundle=bundle,
        overrides=overrides or {},
    )


def _arm_at_the_end(data: RunData) -> tuple[str, str]:
    """Return the arm's last mode, or the fault that it was in."""
    changes = [event for event in data.events if isinstance(event, ArmModeChanged)]
    for event in reversed(changes):
        if event.mode == IN_FAULT:
            return event.mode, event.reason
    if len(data.arm):
        return ARM_MODES[int(data.arm["mode"][-1])], ""
    return "unknown", "it reported nothing"


def _first_actions(
    chunks: list[ChunkArrived], arm: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return distance [m], angle [rad] and offset (c, 3) [m] from states to first actions."""
    kept = []
    if len(arm):
        times = np.asarray(arm["t_ns"], np.int64)
        for event in chunks:
            row = min(int(np.searchsorted(times, event.t_obs_ns)), len(arm) - 1)
            measured = np.asarray(arm["measured"][row], np.float64)
            actions = np.frombuffer(event.actions, "<f4").reshape(event.rows, event.columns)
            first = actions[0].astype(np.float64)
            offset = first[:3] - measured[:3]
            turn = rotation_between(measured[3:7], quaternion_from_euler(first[3:6]))
            kept.append([*offset, np.linalg.norm(offset), np.linalg.norm(turn)])
    table = np.array(kept, np.float64).reshape(-1, 5)
    return table[:, 3], table[:, 4], table[:, :3]
