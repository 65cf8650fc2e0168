"""The summary of a run: its numbers, computed from the run folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.arm_samples import ARM_MODES
from dvla.runtime.clock import NS_PER_S
from dvla.runtime.events import (
    ActionInForce,
    ArmModeChanged,
    ChunkMerged,
    EpisodeEnded,
    EpisodeStarted,
    InferenceStarted,
    SchedulerStateChanged,
)
from dvla.runtime.ledger import ChunkLedger
from dvla.runtime.percentiles import Percentiles, percentiles
from dvla.runtime.prediction import PredictionErrors, prediction_errors
from dvla.runtime.run_data import RunData, load_run
from dvla.runtime.run_folder import RunManifest

SCHEMA = 1


class RunSummary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numbers of one run; None is "there was nothing to measure".

    Attributes:
        duration_s: from the start to the last recorded thing.
        began: the arm followed the policy, or an inference was begun.
        first_action_s: from the start to the first action in force.
        replan_hz: chunks per second; action_hz: H times that; dispatch_hz: commands per second.
            Each over the time from its first to its last.
        lateness_s: the servo's waking minus its deadline; busy_s: from waking to command sent.
        observation_age_s: at dispatch, of the observation behind the setpoint.
        discarded: chunks, by reason.
        actions_pending: still to come when the run ended.
        underruns: times the timeline ran dry while an action was in force.
        too_slow / holds: times that the scheduler entered these states.
        arm_stops: times that the arm controller began its stop.
        taken_back: plans of the servo, after the arm had refused a command.
        seam_m ...: steps across the seams, and the largest steps inside the same chunks.
        acceptance_share: accepted commands out of those that the arm judged.
        tracking_m / tracking_rad: commanded to measured, while following; None in shadow.
        attempts / caught / outcomes: episodes that ended, by a twin's own judgement; nothing judges
            those of a real arm.
        prediction: of a replay, against its recorded actions.
        problems: what a person should know, in sentences.
    """

    folder: str
    manifest: RunManifest
    duration_s: float
    began: bool
    first_action_s: float | None
    replan_hz: float
    action_hz: float
    dispatch_hz: float
    inference_s: Percentiles | None
    observation_age_s: Percentiles | None
    lateness_s: Percentiles | None
    busy_s: Percentiles | None
    servo_ticks: int
    commands_sent: int
    overruns: int
    underruns: int
    saturated_share: float | None
    taken_back: int
    inferences: int
    chunks: int
    merged: int
    discarded: dict[str, int]
    actions_executed: int
    actions_stale: int
    actions_overridden: int
    actions_cleared: int
    actions_pending: int
    too_slow: int
    holds: int
    arm_stops: int
    seam_m: Percentiles | None
    seam_rad: Percentiles | None
    in_chunk_m: Percentiles | None
    in_chunk_rad: Percentiles | None
    seam_alarms: int
    accepted: int
    rejected: dict[str, int]
    acceptance_share: float | None
    tracking_m: Percentiles | None
    tracking_rad: Percentiles | None
    peak_speed_m_s: float | None
    attempts: int
    caught: int
    outcomes: dict[str, int]
    pids: dict[str, int]
    problems: tuple[str, ...]
    prediction: PredictionErrors | None = None
    schema: int = SCHEMA


def summarise(path: Path | str) -> RunSummary:
    """Compute the summary of a run folder.

    Raises:
        RunFolderError: this is no run folder, or a file of it is damaged.
    """
    return summarise_data(load_run(path))


def summarise_data(data: RunData) -> RunSummary:
    """Compute the summary of a run that has been read."""
    from dvla.runtime.problems import problems_of

    manifest = data.manifest
    values: dict[str, Any] = {
        "folder": data.folder.path.name,
        "manifest": manifest,
        "duration_s": (data.end_ns - manifest.started_ns) / NS_PER_S,
        "pids": manifest.pids,
        "began": any(isinstance(e, EpisodeStarted | InferenceStarted) for e in data.events),
        **_chunks(data),
        **_servo(data.servo),
        **_arm(data),
        **_episodes(data),
        "problems": (),
        "prediction": prediction_errors(data),
    }
    summary = RunSummary(**values)
    return msgspec.structs.replace(summary, problems=tuple(problems_of(summary, data.warnings)))


def rate_hz(t_ns: NDArray[np.int64]) -> float:
    """Return events per second from the first to the last of (n,) times; 0 below two."""
    if len(t_ns) < 2 or t_ns[-1] <= t_ns[0]:
        return 0.0
    return float((len(t_ns) - 1) * NS_PER_S / (int(t_ns[-1]) - int(t_ns[0])))


def _chunks(data: RunData) -> dict[str, Any]:
    """Return what inference and scheduling did."""
    ledger = ChunkLedger(data.manifest.chunk_size)
    arrivals, inference_s = [], []
    for event in data.events:
        chunk = ledger.add(event)
        if chunk is not None and chunk.arrived_ns is not None:
            arrivals.append(chunk.arrived_ns)
            inference_s.append(chunk.inference_s)
    replan_hz = rate_hz(np.sort(np.array(arrivals, np.int64)))
    first = next((event.t_ns for event in data.events if isinstance(event, ActionInForce)), None)
    states = [event.state for event in data.events if isinstance(event, SchedulerStateChanged)]
    seams = [
        event
        for event in data.events
        if isinstance(event, ChunkMerged) and (event.seam_m > 0 or event.seam_rad > 0)
    ]
    return {
        "first_action_s": None if first is None else (first - data.manifest.started_ns) / NS_PER_S,
        "replan_hz": replan_hz,
        "action_hz": data.manifest.chunk_size * replan_hz,
        "inference_s": percentiles(np.array(inference_s, np.float64)),
        "underruns": states.count("underrun"),
        "inferences": ledger.inferences,
        "chunks": ledger.chunks,
        "merged": ledger.merged,
        "discarded": dict(sorted(ledger.discarded.items())),
        "actions_executed": ledger.executed,
        "actions_stale": ledger.stale,
        "actions_overridden": ledger.overridden,
        "actions_cleared": ledger.cleared,
        "actions_pending": ledger.pending,
        "too_slow": states.count("too_slow"),
        "holds": states.count("hold"),
        "seam_m": percentiles([seam.seam_m for seam in seams]),
        "seam_rad": percentiles([seam.seam_rad for seam in seams]),
        "in_chunk_m": percentiles([seam.in_chunk_m for seam in seams]),
        "in_chunk_rad": percentiles([seam.in_chunk_rad for seam in seams]),
        "seam_alarms": sum(seam.seam_alarm for seam in seams),
    }


def _servo(ticks: NDArray[Any]) -> dict[str, Any]:
    """Return what the servo did."""
    observed = ticks[ticks["t_obs_ns"] > 0]
    sent = ticks["sent"]
    spans = len(ticks) > 1 and ticks["t_ns"][-1] > ticks["t_ns"][0]
    dispatch_hz = 0.0
    if spans:
        commands = int(sent[-1]) - int(sent[0])
        dispatch_hz = commands * NS_PER_S / (int(ticks["t_ns"][-1]) - int(ticks["t_ns"][0]))
    return {
        "dispatch_hz": dispatch_hz,
        "observation_age_s": percentiles((observed["t_ns"] - observed["t_obs_ns"]) / NS_PER_S),
        "lateness_s": percentiles(ticks["lateness_ns"] / NS_PER_S),
        "busy_s": percentiles(ticks["busy_ns"] / NS_PER_S),
        "servo_ticks": len(ticks),
        "commands_sent": int(sent[-1]) if len(ticks) else 0,
        "overruns": int(ticks["overruns"][-1]) if len(ticks) else 0,
        "taken_back": int(ticks["taken_back"][-1]) if len(ticks) else 0,
        "saturated_share": float(np.mean(ticks["saturation"] != 0)) if len(ticks) else None,
    }


def _arm(data: RunData) -> dict[str, Any]:
    """Return what the arm made of the commands."""
    arm = data.arm
    # An arm that is sent nothing stays where it is, and is behind nothing.
    follows = (arm["mode"] == ARM_MODES.index("follow")) & (not data.manifest.shadow)
    following = arm[follows]
    accepted = int(arm["accepted"][-1]) if len(arm) else 0
    rejected_total = int(arm["rejected"][-1]) if len(arm) else 0
    rejected = dict(sorted(data.counts[-1].rejected.items())) if data.counts else {}
    # The samples are newer than the counters by reason when a kill cut the run off.
    unexplained = rejected_total - sum(rejected.values())
    if unexplained > 0:
        rejected["unknown"] = unexplained
    judged = accepted + sum(rejected.values())
    speed = np.linalg.norm(arm["twist"][:, :3], axis=1) if len(arm) else np.zeros(0)
    speed = speed[np.isfinite(speed)]
    stops = [e for e in data.events if isinstance(e, ArmModeChanged) and e.mode == "stopping"]
    return {
        "arm_stops": len(stops),
        "accepted": accepted,
        "rejected": {reason: count for reason, count in rejected.items() if count},
        "acceptance_share": accepted / judged if judged else None,
        "tracking_m": percentiles(following["tracking_m"]),
        "tracking_rad": percentiles(following["tracking_rad"]),
        "peak_speed_m_s": float(speed.max()) if len(speed) else None,
    }


def _episodes(data: RunData) -> dict[str, Any]:
    """Return how the twin's episodes ended."""
    outcomes: dict[str, int] = {}
    for event in data.events:
        if isinstance(event, EpisodeEnded):
            outcomes[event.outcome] = outcomes.get(event.outcome, 0) + 1
    return {
        "attempts": sum(outcomes.values()),
        "caught": outcomes.get("success", 0),
        "outcomes": dict(sorted(outcomes.items())),
    }
