"""The recorder process: takes everything that happens, keeps it, and says how the run is doing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import msgspec
import numpy as np

from dvla.bindings import ServoClock, SharedRing
from dvla.runtime.cameras.frame_ring import FrameRing
from dvla.runtime.clock import NS_PER_MS, monotonic_ns
from dvla.runtime.clock_board import ClockBoard
from dvla.runtime.clock_offset import event_from, state_from
from dvla.runtime.errors import RecordingEnded
from dvla.runtime.events import Event, Note
from dvla.runtime.lock import lock_events
from dvla.runtime.processes.child import Child, run_child
from dvla.runtime.recorder import Recorder
from dvla.runtime.replay.inputs import RunInputs
from dvla.runtime.replay.journal import ARM_CALL
from dvla.runtime.run_folder import RunFolder
from dvla.runtime.status import RunStatus, StatusTracker
from dvla.runtime.telemetry import SERVO_TICK
from dvla.runtime.wire import EventPuller, StateStream
from dvla.runtime.wire_news import NewsStream

PICTURES_SHARE = 0.6
"""Of a turn may go into pictures; what is left in the rings waits for the next one."""
LAST_PICTURES_NS = 500 * NS_PER_MS
"""May go into what is left in the rings at the end; a run that ends at once waits a second."""
STATUS_EVERY_NS = 200 * NS_PER_MS


class RowReader:
    """Reads the rows of a ring that were published since the last call.

    Args:
        ring: one row per slot.
        dtype: of the rows.
    """

    def __init__(self, ring: SharedRing, dtype: np.dtype[np.void]) -> None:
        self._ring = ring
        self._dtype = dtype
        self._next = 1
        self.lost = 0

    def take(self) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        """Return the new rows (n,), oldest first; overtaken ones are counted."""
        newest = self._ring.newest
        oldest = max(self._next, newest - self._ring.slots + 1)
        self.lost += oldest - self._next
        rows = np.zeros(max(0, newest - oldest + 1), self._dtype)
        kept = 0
        for sequence in range(oldest, newest + 1):
            if self._ring.read(sequence, rows[kept : kept + 1].view(np.uint8)) is None:
                self.lost += 1
            else:
                kept += 1
        self._next = newest + 1
        return rows[:kept]


class FrameReader:
    """Gives the frames of every camera, once.

    Args:
        frames: rings by feature name.
        every: all frames; otherwise the newest, which is all a film needs.
        now_ns: clock of the budget.

    Attributes:
        lost: of all frames, those that were overtaken, or left behind at the end.
    """

    def __init__(
        self,
        frames: dict[str, FrameRing],
        every: bool = False,
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._frames, self._every, self._now_ns = frames, every, now_ns
        self._seen = dict.fromkeys(frames, 0)
        self.lost = 0

    def record(self, recorder: Recorder, budget_ns: int) -> None:
        """Hand new frames to the recorder, those first that would be overtaken first.

        Args:
            recorder: takes them.
            budget_ns: after which the rest stays in the rings.
        """
        until_ns = self._now_ns() + budget_ns
        for name, sequence, t_ns in self._waiting():
            image_hwc = self._frames[name].read(sequence)
            self._count(name, sequence, kept=image_hwc is not None)
            if image_hwc is not None:
                recorder.add_frame(name, t_ns, image_hwc)
            if self._every and self._now_ns() >= until_ns:
                return

    def record_rest(self, recorder: Recorder) -> None:
        """Hand over what is left when the cameras have ended; what is too much is lost."""
        self.record(recorder, LAST_PICTURES_NS)
        for name, ring in self._frames.items():
            self._count(name, ring.ring.newest, kept=False)

    def _waiting(self) -> list[tuple[str, int, int]]:
        """Return camera, sequence and time of the new frames, the furthest behind first."""
        waiting = []
        for name, ring in self._frames.items():
            times = [row for row in ring.times() if row[0] > self._seen[name]]
            for sequence, t_ns in times if self._every else times[-1:]:
                waiting.append((times[-1][0] - sequence, (name, sequence, t_ns)))
        return [frame for _, frame in sorted(waiting, key=lambda row: -row[0])]

    def _count(self, name: str, sequence: int, *, kept: bool) -> None:
        """Count the frames up to this one that nobody will record any more."""
        if self._every:
            self.lost += sequence - self._seen[name] - kept
        self._seen[name] = sequence


class TrackerSink:
    """Shows the recorder's own notes in the live status.

    Args:
        tracker: of the status.
    """

    def __init__(self, tracker: StatusTracker) -> None:
        self._tracker = tracker

    def emit(self, event: Event) -> None:
        """Take an event."""
        self._tracker.add_event(event)


def show(status: SharedRing, snapshot: RunStatus, now_ns: int) -> None:
    """Publish a status; one that does not fit is left out, and the last one stays."""
    payload = msgspec.json.encode(snapshot)
    if len(payload) <= status.slot_bytes:
        status.publish(payload.ljust(status.slot_bytes), now_ns)


def body(child: Child) -> None:
    """Record until told to stop, then close every file."""
    settings = child.settings
    addresses = settings.link.connecting()
    with lock_events(addresses, session=settings.session):
        events = EventPuller(addresses)
        news = NewsStream(addresses) if settings.arm_alone else None
        with closing(events):
            pace = ServoClock(round(1e9 / child.spec.rate_hz))
            turn(child, events, StateStream(addresses), news, pace.wait)


def turn(
    child: Child,
    events: EventPuller,
    states: StateStream,
    news: NewsStream | None,
    wait: Callable[[], int],
    now_ns: Callable[[], int] = monotonic_ns,
) -> None:
    """Turn the loop until told to stop.

    Args:
        child: of the recorder.
        events: of every process.
        states: of the arm.
        news: of an arm controller that is no part of the run.
        wait: sleeps until the next turn is due, and returns when that is.
        now_ns: clock of what a turn may take.
    """
    settings = child.settings
    frames = {
        name: FrameRing.attach(settings.cameras[name], fd)
        for name, fd in settings.rings.frames.items()
    }
    tracker = StatusTracker(settings.chunk_size)
    recorder = Recorder(
        RunFolder(settings.run_folder),
        cameras=list(frames),
        sink=TrackerSink(tracker),
        mcap_bytes=settings.mcap_bytes,
    )
    recorder.write_inputs(RunInputs.of(settings))
    ticks = RowReader(SharedRing.attach(settings.rings.servo_ticks), SERVO_TICK)
    calls = RowReader(SharedRing.attach(settings.rings.arm_calls), ARM_CALL)
    status = SharedRing.attach(settings.rings.status)
    clock_of_arm = ClockBoard(SharedRing.attach(settings.rings.clock))
    pictures = FrameReader(frames, every=settings.mcap_bytes > 0, now_ns=now_ns)
    pictures_ns = round(PICTURES_SHARE * 1e9 / child.spec.rate_hz)
    child.ready(child.enter_realtime().text)
    stopping, next_status_ns = False, 0
    while not stopping:
        turn_ns = wait()
        stopping = child.stopping  # what was sent before the signal is still taken in this turn
        offset = clock_of_arm.offset
        of_arm = [] if news is None else [event_from(event, offset) for event in news.drain()]
        for event in (*events.drain(), *of_arm):
            recorder.add_event(event)
            tracker.add_event(event)
        for state in [state_from(state, offset) for state in states.drain()]:
            recorder.add_arm_state(state)
            tracker.add_arm_state(state)
        rows = ticks.take()
        recorder.add_servo_ticks(rows)
        tracker.add_servo_ticks(rows)
        recorder.add_arm_calls(calls.take())
        if stopping:
            pictures.record_rest(recorder)
        else:
            pictures.record(recorder, pictures_ns)
        if turn_ns >= next_status_ns:
            next_status_ns = turn_ns + STATUS_EVERY_NS
            show(status, tracker.snapshot(turn_ns), turn_ns)
        child.beat(turn_ns)
        if recorder.failed and settings.must_record:
            raise RecordingEnded(
                "the recording ended, and this run must not go on without one",
                got=recorder.failure,
                next_command="make room there, choose another disk with --out, or leave out "
                "--require-recording",
            )
    if ticks.lost or calls.lost or pictures.lost:
        text = (
            f"{ticks.lost} servo ticks, {calls.lost} arm calls and {pictures.lost} pictures were "
            "overtaken unrecorded"
        )
        recorder.add_event(Note(t_ns=now_ns(), source="recorder", text=text))
    recorder.close()


if __name__ == "__main__":
    run_child("recorder", body)
