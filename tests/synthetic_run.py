"""A run that never was: plausible files of a run folder, made by the real scheduler's rules.

Chunks of 20 actions arrive 200 ms after their observation; the first actions are stale, the last
are overridden; one chunk is late enough for an underrun; the arm follows with a lag.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dvla.runtime.clock import NS_PER_MS, NS_PER_S
from dvla.runtime.events import (
    ActionInForce,
    ArmModeChanged,
    ChunkDiscarded,
    ChunkMerged,
    CommandRejected,
    EpisodeEnded,
    EpisodeStarted,
    Event,
    InferenceStarted,
    Note,
    SchedulerStateChanged,
)
from dvla.runtime.machine import Machine
from dvla.runtime.messages import ArmState
from dvla.runtime.recorder import Recorder
from dvla.runtime.run_folder import RunFolder, RunManifest
from dvla.runtime.telemetry import SERVO_TICK

START_NS = 1_000 * NS_PER_S
PERIOD_NS = 40 * NS_PER_MS
H = 20
CAMERAS = ("opst_cam", "wrist_cam")


def manifest(**changes: object) -> RunManifest:
    """Return a manifest that does not depend on this machine."""
    machine = Machine(
        cpu="Test CPU", cores=2, governor="performance", memory_bytes=8 << 30, load_1m=0.4,
        kernel="Linux 6.1", architecture="x86_64", python="3.11.2", libraries={"numpy": "2.0"},
    )  # fmt: skip
    values: dict[str, object] = {
        "robot": "franka", "sim": True, "policy": "oracle", "task": "pick up the red can",
        "started_utc": "2026-01-02T03:04:05Z", "started_ns": START_NS, "control_period_s": 0.04,
        "chunk_size": H, "servo_rate_hz": 250.0, "version": "0.1.0", "machine": machine,
        "command": ("dvla-run", "--robot", "franka", "--sim", "--policy", "oracle"),
        "pids": {"policy": 4101, "servo": 4102, "arm": 4103, "recorder": 4104},
    }  # fmt: skip
    return RunManifest(**(values | changes))  # type: ignore[arg-type]


def make_run(root: Path, duration_s: float = 8.0, *, video: bool = True) -> RunFolder:
    """Write a whole run under ``root`` and return its folder."""
    folder = RunFolder.create(root, "franka", sim=True)
    folder.write_config({"policy": "oracle", "laas": True, "ci": True, "note": "<b>&amp;</b>"})
    folder.write_manifest(manifest())
    recorder = Recorder(folder, cameras=CAMERAS if video else ())
    for event in events(duration_s):
        recorder.add_event(event)  # type: ignore[arg-type]
    ticks = servo_ticks(duration_s)
    for first in range(0, len(ticks), 50):
        recorder.add_servo_ticks(ticks[first : first + 50])
    for state in arm_states(duration_s):
        recorder.add_arm_state(state)
    if video:
        for index in range(round(duration_s * 25)):
            add_frames(recorder, index)
    recorder.close()
    return folder


def events(duration_s: float) -> list[Event]:
    """Return the events of a run with stale, overridden and cut-off actions and one underrun."""
    made: list[Event] = [
        Note(t_ns=START_NS, source="servo", text="Real-time priority is not permitted here."),
        EpisodeStarted(t_ns=START_NS, episode=0, seed=7, text="pick up the <red> can"),
        SchedulerStateChanged(t_ns=START_NS, state="bootstrap"),
        ArmModeChanged(t_ns=START_NS + 300 * NS_PER_MS, mode="follow"),
    ]
    rng = np.random.default_rng(1)
    end_ns = START_NS + round(duration_s * NS_PER_S)
    chunks: list[tuple[int, int, int, int]] = []  # sequence, t_obs, arrival, tau
    now_ns, sequence = START_NS + 300 * NS_PER_MS, 0
    while now_ns < end_ns - NS_PER_S:
        t_obs_ns = now_ns - now_ns % PERIOD_NS
        latency_ns = round((0.19 + 0.03 * rng.random()) * NS_PER_S)
        if sequence == 12:
            latency_ns = 900 * NS_PER_MS
        made.append(
            InferenceStarted(t_ns=now_ns, sequence=sequence, generation=0, t_obs_ns=t_obs_ns)
        )
        arrival_ns = now_ns + latency_ns
        if latency_ns > H * PERIOD_NS:
            made.append(
                ChunkDiscarded(
                    t_ns=arrival_ns, sequence=sequence, generation=0, t_obs_ns=t_obs_ns,
                    reason="stale",
                )
            )  # fmt: skip
        else:
            chunks.append((sequence, t_obs_ns, arrival_ns, t_obs_ns if chunks else arrival_ns))
        now_ns, sequence = arrival_ns + 2 * NS_PER_MS, sequence + 1
    for place, (number, t_obs_ns, arrival_ns, tau_ns) in enumerate(chunks):
        first = max(0, -((tau_ns + PERIOD_NS - 1 - arrival_ns) // PERIOD_NS))
        until_ns = chunks[place + 1][2] if place + 1 < len(chunks) else end_ns
        made.append(
            ChunkMerged(
                t_ns=arrival_ns, sequence=number, generation=0, t_obs_ns=t_obs_ns, tau_ns=tau_ns,
                first_action=first, actions=H, inference_s=(arrival_ns - t_obs_ns) / NS_PER_S,
                seam_m=0.004 * rng.random() if place else 0.0,
                seam_rad=0.01 * rng.random() if place else 0.0,
                in_chunk_m=0.006, in_chunk_rad=0.012, seam_alarm=False,
            )
        )  # fmt: skip
        if place == 0 or chunks[place - 1][3] + H * PERIOD_NS < arrival_ns:
            made.append(SchedulerStateChanged(t_ns=arrival_ns, state="running"))
        for index in range(first, H):
            due_ns = max(tau_ns + index * PERIOD_NS, arrival_ns)
            if due_ns < until_ns:
                made.append(
                    ActionInForce(
                        t_ns=due_ns, sequence=number, generation=0, index=index, t_obs_ns=t_obs_ns
                    )
                )
        dry_ns = tau_ns + H * PERIOD_NS
        if dry_ns < until_ns < end_ns:
            made += [
                SchedulerStateChanged(
                    t_ns=dry_ns, state="underrun", detail="the last action's time ended"
                ),
                ArmModeChanged(t_ns=dry_ns, mode="stopping", reason="underrun"),
                ArmModeChanged(t_ns=dry_ns + 200 * NS_PER_MS, mode="hold", reason="underrun"),
                ArmModeChanged(t_ns=until_ns, mode="follow"),
            ]
    middle_ns = START_NS + round(duration_s * NS_PER_S / 2)
    made += [
        EpisodeEnded(t_ns=middle_ns, episode=0, outcome="success", duration_s=duration_s / 2),
        EpisodeStarted(t_ns=middle_ns, episode=1, seed=8, text="pick up the blue ball"),
        CommandRejected(t_ns=middle_ns, session=1, sequence=77, reason="stale", detail="121 ms"),
        EpisodeEnded(
            t_ns=end_ns - NS_PER_MS, episode=1, outcome="dropped", duration_s=duration_s / 2
        ),
    ]
    return sorted(made, key=lambda event: event.t_ns)


def path_m(t_s: np.ndarray) -> np.ndarray:
    """Return the commanded positions (n, 3) [m] at (n,) seconds."""
    return np.stack(
        [
            0.45 + 0.12 * np.sin(0.9 * t_s),
            0.22 * np.sin(0.6 * t_s + 0.5),
            0.18 + 0.12 * np.cos(1.3 * t_s),
        ],
        axis=1,
    )


def servo_ticks(duration_s: float) -> np.ndarray:
    """Return (n,) SERVO_TICK rows at 250 Hz."""
    rng = np.random.default_rng(2)
    ticks = np.zeros(round(duration_s * 250), SERVO_TICK)
    steps = np.arange(len(ticks))
    ticks["t_ns"] = START_NS + steps * 4 * NS_PER_MS
    ticks["lateness_ns"] = rng.gamma(2.0, 40_000, len(ticks)).astype(np.int64)
    ticks["busy_ns"] = 120_000
    moving = steps > 130
    age_ns = 220 * NS_PER_MS + (steps * 4 * NS_PER_MS) % (210 * NS_PER_MS)
    ticks["t_obs_ns"] = np.where(moving, ticks["t_ns"] - age_ns, 0)
    ticks["chunk_id"] = np.where(moving, steps // 52, -1)
    ticks["sent"] = steps + 1
    ticks["saturation"] = steps % 50 == 0
    ticks["saturated"] = steps // 50 + 1
    ticks["taken_back"] = 2 * (steps > 1000)
    ticks["status"] = moving
    ticks["setpoint"][:, :3] = path_m(steps * 0.004)
    ticks["setpoint"][:, 3] = 1.0
    ticks["setpoint"][:, 7] = np.where(steps // 600 % 2, -1.0, 1.0)
    return ticks


def arm_states(duration_s: float) -> list[ArmState]:
    """Return arm states at 100 Hz, 60 ms behind the command."""
    t_s = np.arange(round(duration_s * 100)) * 0.01
    commanded, measured = path_m(t_s), path_m(np.maximum(t_s - 0.06, 0.0))
    speed = np.gradient(measured, 0.01, axis=0)
    states = []
    for index, t in enumerate(t_s):
        tail = (1.0, 0.0, 0.0, 0.0, 1.0)
        error_m = float(np.linalg.norm(commanded[index] - measured[index]))
        states.append(
            ArmState(
                session=1, sequence=index, t_ns=START_NS + round(t * NS_PER_S),
                mode="follow" if t > 0.3 else "hold", reason="", arm_epoch=1, lease_session=1,
                command_sequence=index, measured=(*measured[index].tolist(), *tail),
                twist=(*speed[index].tolist(), 0.0, 0.0, 0.0), q=(0.1,) * 7,
                commanded=(*commanded[index].tolist(), *tail), tracking_m=error_m,
                tracking_rad=0.01, accepted=int(index * 2.5),
                rejected={"stale": int(t > duration_s / 2)},
            )
        )  # fmt: skip
    return states


def add_frames(recorder: Recorder, index: int) -> None:
    """Give the recorder one frame of each camera: a ball rolls over a table."""
    t_ns = START_NS + index * PERIOD_NS
    rows, columns = np.mgrid[0:360, 0:480]
    for camera, tint in zip(CAMERAS, (150, 110), strict=True):
        image = np.full((360, 480, 3), tint, np.uint8)
        image[200:] = (90, 80, 70)
        ball = (rows - 240) ** 2 + (columns - (60 + 4 * index) % 480) ** 2 < 20**2
        image[ball] = (200, 40, 30)
        recorder.add_frame(camera, t_ns, image)
