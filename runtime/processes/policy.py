"""The policy process: observations in, chunks through the scheduler into the stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import numpy as np

from dvla.bindings import ActionStream, SharedRing
from dvla.runtime.assembler import ObservationAssembler
from dvla.runtime.cameras.frame_ring import FrameRing
from dvla.runtime.cameras.watch import FrameWatch
from dvla.runtime.clock import NS_PER_MS, monotonic_ns
from dvla.runtime.clock_board import ClockBoard
from dvla.runtime.clock_offset import state_from
from dvla.runtime.events import EpisodeStarted, Note
from dvla.runtime.messages import ArmState
from dvla.runtime.percentiles import percentiles
from dvla.runtime.phase import Phase
from dvla.runtime.policy import Policy
from dvla.runtime.policy_api import ChunkPolicy
from dvla.runtime.policy_loop import PolicyLoop
from dvla.runtime.processes.child import Child, run_child
from dvla.runtime.processes.settings import Settings
from dvla.runtime.processes.snapshots import open_snapshots
from dvla.runtime.realtime import stay_on
from dvla.runtime.replay.scheduler_journal import JournaledScheduler
from dvla.runtime.scheduler import Scheduler
from dvla.runtime.state_buffer import StateBuffer
from dvla.runtime.timeline import publish_timeline
from dvla.runtime.twin.scenes.recall import spec_of
from dvla.runtime.twin.snapshot_ring import Snapshots
from dvla.runtime.wire import EventPusher, StateStream

TURN_S = 0.004
UNREADY_NOTE_NS = 2_000_000_000


def make_policy(settings: Settings) -> ChunkPolicy:
    """Load the policy, warmed up."""
    if settings.policy == "oracle":
        from dvla.runtime.oracle.policy import OraclePolicy

        return OraclePolicy()
    # Before the engine starts its threads, which inherit it. With a number of threads of its own
    # choice ONNX Runtime would pin them elsewhere.
    stay_on(settings.engine_cpus)
    if settings.bundle:
        threads = settings.engine_threads or len(settings.engine_cpus) or None
        return Policy.load(
            settings.bundle,
            backend=settings.backend,
            threads=threads,
            noise_scale=settings.noise_scale,
        )
    from dvla.runtime.policy_entry import open_warmed_up

    shapes = {name: (shape.height, shape.width) for name, shape in settings.cameras.items()}
    return open_warmed_up(settings.policy, shapes, len(settings.history_steps))


class ArmWatch:
    """Keeps the states of the arm; a new epoch of it means that what was running was stopped.

    While somebody holds the arm nothing is inferred: what was seen before is no reason to move
    after.

    Args:
        scheduler: told of stops.
        states: filled with what the arm measures.
        loop: paused by holds.
    """

    def __init__(self, scheduler: Scheduler, states: StateBuffer, loop: PolicyLoop) -> None:
        self._scheduler = scheduler
        self._states = states
        self._loop = loop
        self._epoch = 0
        self._held = False
        self.following = False

    def take(self, state: ArmState, now_ns: int) -> None:
        """Take one state."""
        self._states.add(state.t_ns, np.array(state.measured))
        self.following = state.mode == "follow"
        if state.arm_epoch != self._epoch:
            if self._epoch:
                self._scheduler.on_hold(now_ns)
            self._epoch = state.arm_epoch
        if state.held != self._held:
            self._held = state.held
            (self._loop.pause if state.held else self._loop.resume)(now_ns)


def body(child: Child) -> None:
    """Infer until told to stop."""
    settings = child.settings
    policy = make_policy(settings)
    addresses = settings.link.connecting()
    clock_of_arm = ClockBoard(SharedRing.attach(settings.rings.clock))
    events = EventPusher(addresses)
    stream = ActionStream.attach(settings.rings.stream)
    cameras = {
        name: FrameRing.attach(settings.cameras[name], fd)
        for name, fd in settings.rings.frames.items()
    }
    states = StateBuffer()
    limits = settings.limits
    scheduler = JournaledScheduler(
        settings.scheduler,
        chunk_size=policy.chunk_size,
        control_period_ns=round(policy.control_period_s * 1e9),
        sink=events,
        publish=lambda timeline: publish_timeline(timeline, stream),
        max_observation_age_ns=round(limits.max_observation_age_s * 1e9),
    )
    loop = PolicyLoop(
        policy,
        ObservationAssembler(
            cameras,
            states,
            history_steps=settings.history_steps,
            control_period_ns=round(policy.control_period_s * 1e9),
            state_width=settings.state_width,
            tolerance_ns=round(settings.camera_tolerance_s * 1e9),
        ),
        scheduler,
        inject_latency_ns=round(settings.inject_latency_s * 1e9),
        frame_watch=FrameWatch(),
    )
    arm = StateStream(addresses)
    watch = ArmWatch(scheduler, states, loop)
    snapshots = open_snapshots(settings, clock_of_arm)
    child.ready(child.enter_realtime(settings.engine_cpus).text)
    _turn(child, loop, arm, watch, snapshots, events, clock_of_arm)


def _turn(
    child: Child,
    loop: PolicyLoop,
    arm: StateStream,
    watch: ArmWatch,
    snapshots: Snapshots,
    events: EventPusher,
    clock_of_arm: ClockBoard,
) -> None:
    """Turn the loop until told to stop."""
    settings = child.settings
    oracle = settings.policy == "oracle"
    privileged: Callable[[int], object] | None = snapshots.at if oracle else None
    episode, noted_ns, begun = -1, 0, False
    while not child.stopping:
        now_ns = monotonic_ns()
        for state in arm.drain():
            watch.take(state_from(state, clock_of_arm.offset), now_ns)
        # Episodes count from the moment at which the arm first follows; later stops end none.
        acting = child.phase is Phase.POLICY
        begun = begun or (acting and watch.following)
        newest = snapshots.newest() if begun and settings.has_world else None
        if newest is not None and newest.episode != episode:
            episode = newest.episode
            drawn = spec_of(newest)
            loop.new_episode(now_ns, newest.t_ns, settings.task or drawn.instruction)
        elif begun and episode < 0 and not settings.has_world:
            # No world starts over around a real arm: its one episode begins with its motion.
            episode = 0
            loop.new_episode(now_ns, now_ns, settings.task)
            events.emit(EpisodeStarted(t_ns=now_ns, episode=0, seed=0, text=settings.task))
        if episode >= 0 and acting:
            loop.tick(now_ns, privileged)
        if loop.unready and now_ns - noted_ns > UNREADY_NOTE_NS:
            noted_ns = now_ns
            events.emit(Note(t_ns=now_ns, source="policy", text=loop.unready))
        child.beat(now_ns)
        time.sleep(TURN_S)
    text = history_words(loop.history_offsets_ns, settings.camera_tolerance_s)
    if text:
        events.emit(Note(t_ns=monotonic_ns(), source="policy", text=text))


def history_words(offsets_ns: Collection[int], tolerance_s: float) -> str:
    """Say how far the history frames were from their wanted times; nothing without any."""
    found = percentiles(np.array(list(offsets_ns), np.float64) / NS_PER_MS)
    if found is None:
        return ""
    return (
        f"history frames of {found.count} observations were p50 {found.p50:.1f}, p95 "
        f"{found.p95:.1f} ms from their wanted times (tolerance {1e3 * tolerance_s:g} ms)"
    )


if __name__ == "__main__":
    run_child("policy", body)
