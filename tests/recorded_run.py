"""A run folder made by the deciding classes themselves, in one process under virtual time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from arm_doubles import HOME, MS, LaggingDriver
from synthetic_run import manifest

from dvla.bindings import ActionStream, SharedRing
from dvla.runtime.chunk import Chunk
from dvla.runtime.clock import NS_PER_S
from dvla.runtime.config import SchedulerConfig, ServoConfig
from dvla.runtime.messages import FollowRequest, HoldRequest, LeaseRequest
from dvla.runtime.processes.recorder import RowReader
from dvla.runtime.recorder import Recorder
from dvla.runtime.replay.inputs import RunInputs
from dvla.runtime.replay.journal import ARM_CALL, ARM_CALL_SLOTS, JournaledArmController
from dvla.runtime.replay.scheduler_journal import JournaledScheduler
from dvla.runtime.robots.franka import FRANKA_TWIN_LIMITS
from dvla.runtime.run_folder import RunFolder
from dvla.runtime.servo import ServoCore
from dvla.runtime.telemetry import SERVO_TICK
from dvla.runtime.timeline import publish_timeline

SESSION = 77
START_NS = 1_000 * NS_PER_S
PERIOD_NS = 40 * MS
H = 20


class EventRecorder:
    """An ``EventSink`` in front of the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def emit(self, event: object) -> None:
        self._recorder.add_event(event)  # type: ignore[arg-type]


def chunk_at(t_obs_ns: int, sequence: int, generation: int, latency_s: float) -> Chunk:
    """Return a chunk that follows a circle, a little off by its number."""
    t_s = (t_obs_ns - START_NS) / 1e9 + 0.04 * np.arange(H)
    actions = np.zeros((H, 7), np.float32)
    actions[:, 0] = HOME[0] + 0.05 * np.cos(1.5 * t_s) - 0.05 + 0.001 * (sequence % 3)
    actions[:, 1] = 0.05 * np.sin(1.5 * t_s)
    actions[:, 2] = HOME[2]
    actions[:, 3] = np.pi
    actions[:, 6] = 1.0
    return Chunk(
        actions=actions, t_obs_ns=t_obs_ns, inference_s=latency_s, control_period_s=0.04,
        sequence=sequence, generation=generation,
    )  # fmt: skip


def record_run(
    root: Path, duration_s: float = 3.0, config: SchedulerConfig | None = None
) -> RunFolder:
    """Record a run with an underrun, a hold, a new episode, a lost command and a stranger's one."""
    config = config or SchedulerConfig()
    folder = RunFolder.create(root, "franka", sim=True)
    folder.write_config({})
    folder.write_manifest(manifest())
    recorder = Recorder(folder)
    servo_config = ServoConfig()
    recorder.write_inputs(
        RunInputs(
            session=SESSION, robot="franka", scheduler=config, servo=servo_config,
            limits=FRANKA_TWIN_LIMITS, chunk_size=H, control_period_ns=PERIOD_NS,
        )
    )  # fmt: skip
    sink = EventRecorder(recorder)
    stream = ActionStream.create()
    scheduler = JournaledScheduler(
        config, chunk_size=H, control_period_ns=PERIOD_NS, sink=sink,
        publish=lambda timeline: publish_timeline(timeline, stream),
        max_observation_age_ns=2 * NS_PER_S,
    )  # fmt: skip
    ring = SharedRing.create(ARM_CALL.itemsize, ARM_CALL_SLOTS)
    calls = RowReader(ring, ARM_CALL)
    arm = JournaledArmController(
        LaggingDriver(HOME), FRANKA_TWIN_LIMITS, sink, START_NS, session=1, calls=ring
    )
    servo = ServoCore(stream, FRANKA_TWIN_LIMITS, servo_config, session=SESSION)
    lease = LeaseRequest(session=SESSION, sequence=0, holder="test")
    arm.handle(lease, START_NS)
    row = np.zeros(1, SERVO_TICK)
    state, epoch, flight, waiting = arm.state(START_NS), 1, None, None
    for step in range(1, round(duration_s * 1000)):
        now_ns = START_NS + step * MS
        if step % 4 == 2:  # the policy's turn
            if state.arm_epoch != epoch:
                scheduler.on_hold(now_ns)
                epoch = state.arm_epoch
            if step == 1502:
                scheduler.new_generation(now_ns)
            if flight is not None and now_ns >= flight[1]:
                ticket = flight[0]
                latency_s = (now_ns - flight[2]) / 1e9
                chunk = chunk_at(ticket.t_obs_ns, ticket.sequence, ticket.generation, latency_s)
                scheduler.on_chunk(chunk, now_ns)
                flight = None
            scheduler.advance(now_ns)
            if flight is None and step > 40 and scheduler.wants_inference(now_ns):
                latency_ms = 1100 if 600 < step < 700 else 120 + 7 * (step % 5)
                ticket = scheduler.begin_inference(now_ns, now_ns - now_ns % PERIOD_NS)
                flight = (ticket, now_ns + latency_ms * MS, now_ns)
        if step % 4 == 0:  # the servo's
            waiting = servo.tick(now_ns, state)
            servo.fill(row[0])
            row["deadline_ns"] = now_ns
            row["state_sequence"], row["state_t_ns"] = state.sequence, state.t_ns
            recorder.add_servo_ticks(row)
        if step % 4 == 1:  # the arm's
            if waiting is not None and step % 97:
                arm.on_command(waiting, now_ns)
            if step == 2301:
                arm.handle(HoldRequest(session=5, sequence=0, reason="a person"), now_ns)
            if step == 2501:
                arm.handle(FollowRequest(session=SESSION, sequence=1), now_ns)
            arm.tick(now_ns)
            if step % 8 == 1:
                state = arm.state(now_ns)
                recorder.add_arm_state(state)
        if step % 50 == 0:
            recorder.add_arm_calls(calls.take())
    recorder.add_arm_calls(calls.take())
    recorder.close()
    stream.close()
    ring.close()
    return folder
