"""The policy loop: newest observation in, chunks to the scheduler, one inference at a time.

Inference runs on a thread of its own (engines release the GIL), so that a hold, a new episode or
an underrun is noticed at once and not when a long inference ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import msgspec

from dvla.runtime.assembler import ObservationAssembler
from dvla.runtime.cameras.watch import FrameWatch
from dvla.runtime.chunk import Chunk
from dvla.runtime.errors import StaleObservation
from dvla.runtime.guide import Guide
from dvla.runtime.observation import Observation
from dvla.runtime.policy_api import ChunkPolicy, takes_guide
from dvla.runtime.scheduler import Scheduler
from dvla.runtime.scheduler_state import Ticket

OFFSETS_KEPT = 4096


class Runner(Protocol):
    """Runs one inference; a thread in a run, the caller itself under a virtual clock."""

    def submit(self, work: Callable[[], Chunk]) -> Future[Chunk]:
        """Start the work."""


class _InFlight(msgspec.Struct):
    """An inference between its start and the arrival of its chunk."""

    ticket: Ticket
    future: Future[Chunk]
    started_ns: int
    done_ns: int = 0


class PolicyLoop:
    """One turn after another: advance the scheduler, deliver a chunk, start an inference.

    Args:
        policy: what infers.
        assembler: gives the newest observation.
        scheduler: owns the timeline.
        runner: where inferences run; a single thread when None.
        inject_latency_ns: added to the policy's own latency.
        frame_watch: what it finds wrong with the pictures holds the arm; None looks at none.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        assembler: ObservationAssembler,
        scheduler: Scheduler,
        *,
        runner: Runner | None = None,
        inject_latency_ns: int = 0,
        frame_watch: FrameWatch | None = None,
    ) -> None:
        self._policy = policy
        self._assembler = assembler
        self.scheduler = scheduler
        self._runner = runner or ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._inject_ns = inject_latency_ns
        self._frame_watch = frame_watch
        self._flight: _InFlight | None = None
        self._last_t_obs_ns = 0
        self.instruction = ""
        self.not_before_ns = 0
        self._paused = False
        self.history_offsets_ns: deque[int] = deque(maxlen=OFFSETS_KEPT)
        """How far the worst history frame of each observation was from its wanted time."""
        self.unready = ""
        """Why no observation could be assembled lately, empty when one could."""

    def tick(self, now_ns: int, privileged: Callable[[int], object] | None = None) -> None:
        """Take one turn.

        Args:
            now_ns: the time.
            privileged: returns the true state at a capture time, for the oracle alone; as long as
                that is None no inference begins.

        Raises:
            Exception: whatever the policy raised in its inference.
        """
        self._deliver(now_ns)  # what arrives at an instant counts for it
        self.scheduler.advance(now_ns)
        if self._flight is None and not self._paused and self.scheduler.wants_inference(now_ns):
            self._start(now_ns, privileged)

    def new_episode(self, now_ns: int, started_ns: int, instruction: str) -> None:
        """Begin an episode: chunks and frames from before ``started_ns`` are void."""
        self.instruction = instruction
        self.not_before_ns = started_ns
        self._policy.reset()
        self.scheduler.new_generation(now_ns)

    def pause(self, now_ns: int) -> None:
        """Begin no inference, and give up the one under way: somebody holds the arm."""
        self._paused = True
        flight, self._flight = self._flight, None
        if flight is not None:
            self.scheduler.abandon(flight.ticket, now_ns)

    def resume(self, now_ns: int) -> None:
        """Infer again; the next chunk starts a motion of its own."""
        self._paused = False
        self.scheduler.on_hold(now_ns, "resumed")

    def _deliver(self, now_ns: int) -> None:
        """Hand the chunk over once it is done and its injected latency has passed."""
        flight = self._flight
        if flight is None or not flight.future.done():
            return
        flight.done_ns = flight.done_ns or now_ns
        if now_ns < flight.done_ns + self._inject_ns:
            return
        self._flight = None
        chunk = msgspec.structs.replace(
            flight.future.result(),
            sequence=flight.ticket.sequence,
            generation=flight.ticket.generation,
            inference_s=(now_ns - flight.started_ns) / 1e9,
        )
        self.scheduler.on_chunk(chunk, now_ns)

    def _start(self, now_ns: int, privileged: Callable[[int], object] | None) -> None:
        """Start an inference on the newest observation, if there is one not seen before."""
        newest_ns = self._assembler.newest_t_ns()
        if newest_ns <= self._last_t_obs_ns:
            return
        try:
            observation = self._observe(newest_ns, privileged)
        except StaleObservation as error:
            self.unready = str(error)
            return
        self._last_t_obs_ns = observation.t_obs_ns
        self.history_offsets_ns.append(max(map(abs, observation.history_offset_ns), default=0))
        if self._frame_watch is not None:
            newest = {name: frames[-1] for name, frames in observation.images.items()}
            problem = self._frame_watch.look(newest, observation.state[-1, :3])
            if problem:
                if problem != self.unready:
                    self.scheduler.on_hold(now_ns, problem)
                self.unready = problem
                return
        self.unready = ""
        ticket = self.scheduler.begin_inference(now_ns, observation.t_obs_ns)
        work = self._runner.submit(lambda: self._infer(observation, ticket.guide))
        self._flight = _InFlight(ticket, work, now_ns)

    def _infer(self, observation: Observation, guide: Guide | None) -> Chunk:
        """Ask the policy, with the guide where there is one and the policy takes it."""
        policy = self._policy
        if guide is None or not takes_guide(policy):
            return policy.predict(observation)
        return policy.predict(
            observation, prev_actions=guide.prev_actions, prev_weight=guide.prev_weight
        )

    def _observe(self, newest_ns: int, privileged: Callable[[int], object] | None) -> Observation:
        truth = privileged(newest_ns) if privileged is not None else None
        if privileged is not None and truth is None:
            raise StaleObservation("the true state behind the newest frame has not arrived yet")
        return self._assembler.assemble(
            self.instruction, not_before_ns=self.not_before_ns, privileged=truth
        )
