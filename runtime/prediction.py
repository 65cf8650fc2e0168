"""Predicted against recorded actions of a replayed episode, step of the horizon by step."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.events import ChunkArrived, EpisodeStarted
from dvla.runtime.percentiles import Percentiles, percentiles
from dvla.runtime.pose import quaternion_from_euler, setpoints_from_actions
from dvla.runtime.run_data import RunData
from dvla.runtime.state_buffer import slerp

EDGE_S = 1e-3
"""A chunk's clock and the episode's agree to less than this."""


class StepErrors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The errors of one step of the horizon, over all chunks that reach it inside the episode.

    Attributes:
        index: of the action in its chunk.
        count: chunks compared.
        position_m: distance of the positions.
        rotation_rad: angle between the rotations.
        gripper_share: share of the chunks whose gripper is on the recorded side.
    """

    index: int
    count: int
    position_m: Percentiles | None
    rotation_rad: Percentiles | None
    gripper_share: float | None


class PredictionErrors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a policy predicted in a replay, against what was recorded.

    Attributes:
        chunks: compared; invalid: with an action that is no number, left out.
        beyond_end: predicted actions after the episode's end, left out.
        position_m, rotation_rad, gripper_share: over all steps.
        standing_m: distance from the recorded action to the pose at the chunk's observation: what
            a policy that predicts "stay" would be wrong by.
        steps: one entry per step of the horizon.
    """

    chunks: int
    beyond_end: int
    position_m: Percentiles | None
    rotation_rad: Percentiles | None
    gripper_share: float | None
    standing_m: Percentiles | None
    steps: tuple[StepErrors, ...]
    invalid: int = 0


class ChunkErrors(msgspec.Struct, frozen=True, kw_only=True):
    """The errors of one chunk: (H,) each, NaN after the episode's end; t_s of its observation."""

    t_s: float
    position_m: NDArray[np.float64]
    rotation_rad: NDArray[np.float64]
    gripper_right: NDArray[np.float64]
    standing_m: NDArray[np.float64]


def chunk_errors(data: RunData) -> list[ChunkErrors]:
    """Return the errors of every chunk of a replay that holds numbers; none of any other run."""
    recorded = data.recorded
    t_s = recorded["t_s"]
    wanted = setpoints_from_actions(recorded["action"])
    found = []
    for at_s, chunk, actions in _predicted(data):
        if not np.isfinite(actions).all():
            continue
        due_s = at_s + np.arange(chunk.rows) * chunk.control_period_s
        truth = np.stack([_at(t_s, wanted, each) for each in due_s])
        seen = _at(t_s, recorded["measured"], at_s)
        quaternion = quaternion_from_euler(actions[:, 3:6])
        alike = np.abs(np.sum(quaternion * truth[:, 3:7], axis=1)).clip(0.0, 1.0)
        inside = np.where(due_s <= t_s[-1] + EDGE_S, 1.0, np.nan)
        right = (actions[:, 6] >= 0.0) == (truth[:, 7] >= 0.0)
        found.append(
            ChunkErrors(
                t_s=at_s,
                position_m=np.linalg.norm(actions[:, :3] - truth[:, :3], axis=1) * inside,
                rotation_rad=2.0 * np.arccos(alike) * inside,
                gripper_right=right * inside,
                standing_m=np.linalg.norm(truth[:, :3] - seen[:3], axis=1) * inside,
            )
        )
    return found


def _predicted(data: RunData) -> Iterator[tuple[float, ChunkArrived, NDArray[np.float32]]]:
    """Yield the chunks of a replay: time of the observation in the episode [s], event, actions."""
    start_ns = next((e.t_ns for e in data.events if isinstance(e, EpisodeStarted)), None)
    if start_ns is None or len(data.recorded) < 2:
        return
    end_s = float(data.recorded["t_s"][-1])
    for chunk in (e for e in data.events if isinstance(e, ChunkArrived)):
        at_s = (chunk.t_obs_ns - start_ns) / NS_PER_S
        if -EDGE_S <= at_s <= end_s + EDGE_S:
            actions = np.frombuffer(chunk.actions, "<f4").reshape(chunk.rows, chunk.columns)
            yield at_s, chunk, actions


def prediction_errors(data: RunData) -> PredictionErrors | None:
    """Return the errors of a replay, None for a run that replayed nothing."""
    if not len(data.recorded):
        return None
    chunks = chunk_errors(data)
    invalid = sum(not np.isfinite(actions).all() for _, _, actions in _predicted(data))
    horizon = max((len(chunk.position_m) for chunk in chunks), default=0)
    chunks = [chunk for chunk in chunks if len(chunk.position_m) == horizon]
    empty = np.zeros((0, horizon))
    position, rotation, gripper, standing = (
        np.stack([getattr(chunk, name) for chunk in chunks]) if chunks else empty
        for name in ("position_m", "rotation_rad", "gripper_right", "standing_m")
    )
    return PredictionErrors(
        chunks=len(chunks),
        beyond_end=int(np.isnan(position).sum()),
        position_m=percentiles(_known(position)),
        rotation_rad=percentiles(_known(rotation)),
        gripper_share=_share(gripper),
        standing_m=percentiles(_known(standing)),
        steps=tuple(
            StepErrors(
                index=index,
                count=len(_known(position[:, index])),
                position_m=percentiles(_known(position[:, index])),
                rotation_rad=percentiles(_known(rotation[:, index])),
                gripper_share=_share(gripper[:, index]),
            )
            for index in range(horizon)
        ),
        invalid=invalid,
    )


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[~np.isnan(values)]


def _share(values: NDArray[np.float64]) -> float | None:
    known = _known(values)
    return float(known.mean()) if len(known) else None


def _at(
    t_s: NDArray[np.float64], setpoints: NDArray[np.float64], at_s: float
) -> NDArray[np.float64]:
    """Return the setpoint (8,) at a time; the gripper is the earlier step's, a decision."""
    after = int(np.clip(np.searchsorted(t_s, at_s), 1, len(t_s) - 1))
    before = after - 1
    share = float(np.clip((at_s - t_s[before]) / (t_s[after] - t_s[before]), 0.0, 1.0))
    a, b = setpoints[before], setpoints[after]
    mixed = a + share * (b - a)
    mixed[3:7] = slerp(a[3:7], b[3:7], share)
    mixed[7] = b[7] if share > 0.5 else a[7]
    return np.asarray(mixed, np.float64)
