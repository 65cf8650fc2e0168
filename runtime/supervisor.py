"""The supervisor: starts the processes of a run, watches them, and stops them in order."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import msgspec

from dvla.bindings import ActionStream, SharedRing
from dvla.runtime.arm_connection import ArmConnection
from dvla.runtime.cameras.frame_ring import FrameRing, FrameShape
from dvla.runtime.clock import monotonic_ns
from dvla.runtime.clock_board import ClockBoard
from dvla.runtime.errors import LeaseError, ProcessDied, WireError
from dvla.runtime.lock import lock_arm, lock_events
from dvla.runtime.messages import HoldRequest, Request, ShutdownRequest
from dvla.runtime.phase import Phase
from dvla.runtime.processes.heartbeat import HeartbeatBoard
from dvla.runtime.processes.settings import Rings, Settings
from dvla.runtime.processes.spawn import Launched, StartFailed, how
from dvla.runtime.processes.table import PROCESSES, process_spec
from dvla.runtime.replay.journal import ARM_CALL, ARM_CALL_SLOTS
from dvla.runtime.telemetry import SERVO_RING_SLOTS, SERVO_TICK
from dvla.runtime.wire_control import ControlClient

START_ORDER = ("recorder", "arm", "camera", "policy", "servo")
START_TIMEOUT_S = {"policy": 300.0}
"""The policy process loads and warms up an engine before anything may move."""
SNAPSHOT_SLOTS = 256
STATUS_BYTES = 65536


class SharedMemory:
    """Everything that the processes share; it vanishes with the last of them.

    Args:
        cameras: frame sizes by feature name.
        snapshot_bytes: size of one snapshot of the twin.
    """

    def __init__(self, cameras: dict[str, FrameShape], snapshot_bytes: int) -> None:
        self.heartbeat = HeartbeatBoard.create(len(PROCESSES))
        self.stream = ActionStream.create()
        self.snapshot = SharedRing.create(snapshot_bytes, SNAPSHOT_SLOTS)
        self.servo_ticks = SharedRing.create(SERVO_TICK.itemsize, SERVO_RING_SLOTS)
        self.arm_calls = SharedRing.create(ARM_CALL.itemsize, ARM_CALL_SLOTS)
        self.status = SharedRing.create(STATUS_BYTES, 4)
        self.clock = ClockBoard.create()
        self.frames = {name: FrameRing.create(shape) for name, shape in cameras.items()}

    def rings(self) -> Rings:
        """Return the descriptors that the children inherit."""
        return Rings(
            heartbeat=self.heartbeat.fd,
            heartbeat_rows={name: row for row, name in enumerate(PROCESSES)},
            stream=self.stream.fd,
            snapshot=self.snapshot.fd,
            servo_ticks=self.servo_ticks.fd,
            arm_calls=self.arm_calls.fd,
            status=self.status.fd,
            clock=self.clock.ring.fd,
            frames={name: ring.ring.fd for name, ring in self.frames.items()},
        )


class Supervisor:
    """The life of one run.

    Args:
        settings: of the run; its pids are filled in as processes start.
        shared: the memory that the processes share.
        say: takes a line for the person who started the run.
        order: the processes, in the order of their start.
        arm: the connection to a controller that is none of them; opened by ``start``.
        must_record: a stalled recorder ends the run; otherwise that is said, and the run goes on.
    """

    def __init__(
        self,
        settings: Settings,
        shared: SharedMemory,
        say: Callable[[str], None],
        order: tuple[str, ...] = START_ORDER,
        arm: ArmConnection | None = None,
        *,
        must_record: bool = False,
    ) -> None:
        self._order, self._must_record = order, must_record
        self._stalled: set[str] = set()
        self._arm = arm
        self.settings = settings
        self._shared = shared
        self._say = say
        self._children: dict[str, Launched] = {}
        self._loading: dict[str, Launched] = {}
        self.words: dict[str, str] = {}
        """What each process said when it was ready: what it was granted."""

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, the supervisor's own among them."""
        pids = {name: child.pid for name, child in self._children.items()}
        return {"supervisor": os.getpid(), **pids}

    def start(self, wanted: Callable[[], bool] = lambda: True) -> None:
        """Start every process; each is ready before the next begins its work.

        All load their modules meanwhile, side by side: that is most of what a start takes.

        Args:
            wanted: asked while waiting; when it says no, nothing further is started.

        Raises:
            DvlaError: a process cannot start, or one that was ready is lost meanwhile.
        """
        if self._arm is not None:
            self._say(f"arm: {self._arm.open(monotonic_ns())}")
        for name in self._order:
            spec = process_spec(name, self.settings.servo.rate_hz)
            self._loading[name] = Launched(spec, self.settings.rings)
        for name in self._order:
            settings = msgspec.structs.replace(self.settings, pids=self.pids)
            # From here on it is one of the run; whose turn never comes has done nothing to undo.
            child = self._children[name] = self._loading.pop(name)
            child.tell(settings)
            text = self._await_ready(name, child, wanted)
            if not wanted():
                return
            self.words[name] = text
            self._say(f"{name}: pid {child.pid}{', ' + text if text else ''}")

    def _await_ready(self, name: str, child: Launched, wanted: Callable[[], bool]) -> str:
        """Wait for a process, look after those that are ready, and return its words.

        Raises:
            DvlaError: it cannot start; or one that was ready is lost, which comes before what the
                loss did to this one.
        """

        def wanted_still() -> bool:
            self._check_lives("while the run started", but=name)
            return wanted()

        try:
            return child.wait_ready(START_TIMEOUT_S.get(name, 60.0), wanted_still)
        except (StartFailed, ProcessDied):
            self._check_lives("while the run started", but=name)
            raise

    def check(self) -> None:
        """Look after every process once.

        Raises:
            ProcessDied: one has ended or is stalled; the message names it.
            RobotFault: the controller of the arm is not heard any more.
            LeaseError: it takes no more commands of this run.
        """
        self._check_lives("during the run")
        now_ns = monotonic_ns()
        for name, child in self._children.items():
            self._check_turns(name, child, now_ns)

    def _check_lives(self, when: str, but: str = "") -> None:
        """Raise unless the controller is heard and every process lives; one may be left out."""
        if self._arm is not None:
            self._arm.look(monotonic_ns())
        for name, child in self._children.items():
            code = child.process.poll() if name != but else None
            if code is not None:
                words = child.last_words()
                raise ProcessDied(
                    f"process {name} (pid {child.pid}) ended {when}: {how(code)}"
                    + (f"; it said: {words}" if words else "")
                )

    def _check_turns(self, name: str, child: Launched, now_ns: int) -> None:
        last_ns, _ = self._shared.heartbeat.last(self._row(name))
        silent_s = (now_ns - last_ns) / 1e9 if last_ns else 0.0
        if silent_s * 1e9 <= child.spec.stall_ns:
            if name in self._stalled:
                self._stalled.discard(name)
                self._say(f"{name}: it turns again; what it has missed is lost")
            return
        if not child.spec.service or self._must_record:
            raise ProcessDied(
                f"process {name} (pid {child.pid}) is stalled",
                got=f"no turn of its loop for {silent_s:.1f} s",
                expected=f"{child.spec.rate_hz:g} per second",
            )
        if name not in self._stalled:
            self._stalled.add(name)
            self._say(
                f"WARNING: {name} (pid {child.pid}) has not turned for {silent_s:.0f} s: nothing "
                "is recorded, and the run goes on (--require-recording would end it)"
            )

    def ended_in_order(self, name: str) -> bool:
        """Return whether a process has ended by itself, and says that all was well."""
        child = self._children.get(name)
        return child is not None and child.process.poll() == 0

    def beats(self) -> dict[str, tuple[int, int]]:
        """Return (time of the last beat [ns], beats) of every process."""
        return {name: self._shared.heartbeat.last(self._row(name)) for name in self._children}

    def enter(self, phase: Phase) -> None:
        """Tell the processes what they may do from now on."""
        self._shared.heartbeat.enter(phase)

    def hold(self, reason: str) -> bool:
        """Stop the arm and hold; returns whether the arm controller acknowledged it."""
        session = self.settings.session
        return self.ask_arm(HoldRequest(session=session, sequence=0, reason=reason)) == ""

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """End the run: hold, then everything that commands, then the arm, then the recorder.

        Args:
            reason: recorded with the hold.
            at_once: skip every wait that the arm does not need.
        """
        for child in self._loading.values():
            child.process.kill()
            child.end(1.0)
        if self._arm is not None:
            self._arm.let_go()
        elif "arm" in self._children:
            self.hold(reason)
        patience_s = 0.2 if at_once else 2.0
        for name in ("servo", "policy", "camera"):
            self._end(name, patience_s)
        if "arm" in self._children:
            self.ask_arm(ShutdownRequest(session=self.settings.session, sequence=0))
        self._end("arm", 2.0)
        self._end("recorder", 1.0 if at_once else 30.0)
        self._clear_leftovers()
        if self._arm is not None:
            self._arm.close()

    def _clear_leftovers(self) -> None:
        """Remove the sockets and locks of processes that were killed; the living keep theirs."""
        addresses = self.settings.link.connecting()
        own = {"arm": lock_arm, "recorder": lock_events}
        for lock in (own[name] for name in self._order if name in own):
            with contextlib.suppress(LeaseError):
                lock(addresses, session=self.settings.session).release()

    def _end(self, name: str, timeout_s: float) -> None:
        child = self._children.get(name)
        if child is not None:
            child.terminate()
            child.end(timeout_s)

    def ask_arm(self, request: Request) -> str:
        """Send one request on a connection of its own; return why it was refused, or nothing."""
        if "arm" in self._children and self._children["arm"].process.poll() is not None:
            return "the arm controller has ended"
        client = ControlClient(self.settings.link.connecting())
        with contextlib.closing(client):
            try:
                reply = client.ask(request, timeout_s=1.0)
            except WireError as error:
                return str(error)
        return "" if reply.ok else reply.text or "the arm controller refused"

    def _row(self, name: str) -> int:
        return self.settings.rings.heartbeat_rows[name]
