"""The recorder: everything that happens, into the run folder, off the control path.

Recording is a service to the run and never its master: a full disk or an unwritable folder ends
the recording with one Note; what was written until then stays readable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.files import write_atomically
from dvla.runtime.append_file import AppendArray, AppendFile
from dvla.runtime.arm_samples import ARM_SAMPLE, arm_sample
from dvla.runtime.clock import NS_PER_S
from dvla.runtime.events import AnyEvent, EventSink, Note
from dvla.runtime.messages import ArmState
from dvla.runtime.recordings.mcap_log import McapLog, McapUnavailable
from dvla.runtime.replay.journal import ARM_CALL
from dvla.runtime.run_folder import RunFolder, RunFolderError
from dvla.runtime.telemetry import SERVO_TICK
from dvla.runtime.video import VideoUnavailable, VideoWriter

COUNTS_PERIOD_NS = NS_PER_S


class ArmCounts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arm's command counters at one moment."""

    t_ns: int
    accepted: int
    rejected: dict[str, int]


def about(folder: RunFolder) -> dict[str, str]:
    """Return what a file that leaves its folder has to say of the run: times are monotonic."""
    try:
        told = msgspec.to_builtins(folder.read_manifest())
    except RunFolderError:
        return {}
    names = ("robot", "sim", "policy", "task", "started_utc", "started_ns", "version")
    return {name: str(told[name]) for name in names}


class Recorder:
    """Write a run into its folder; never raise, never grow.

    Args:
        folder: a fresh run folder.
        cameras: names of the cameras of the video, left to right; none: no video.
        sink: where the Notes of the recorder itself go, besides the folder.
        now_ns: time of the Note, should the recording fail at once.
        mcap_bytes: size of the MCAP files to write as well; 0 writes none.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        cameras: Sequence[str] = (),
        sink: EventSink | None = None,
        now_ns: int = 0,
        mcap_bytes: int = 0,
    ) -> None:
        self._sink = sink
        self._newest_ns = now_ns
        self._encoder = msgspec.json.Encoder()
        self._events: AppendFile | None = None
        self._servo: AppendArray | None = None
        self._arm: AppendArray | None = None
        self._calls: AppendArray | None = None
        self._folder = folder
        self._counts: AppendFile | None = None
        self._video: VideoWriter | None = None
        self._mcap: McapLog | None = None
        self._unsaved_counts: ArmCounts | None = None
        self._saved_rejected: dict[str, int] | None = None
        self._counts_ns = -COUNTS_PERIOD_NS
        self._failure = ""
        self._closed = False
        self._guard(lambda: self._open(folder))
        if cameras and not self.failed:
            self._open_video(folder, cameras)
        if mcap_bytes and not self.failed:
            self._open_mcap(folder, mcap_bytes)

    @property
    def failed(self) -> bool:
        """Whether the recording ended before the run did."""
        return bool(self._failure)

    @property
    def failure(self) -> str:
        """Why the recording ended early, in words; empty while all is well."""
        return self._failure

    def add_event(self, event: AnyEvent) -> None:
        """Record an event."""
        self._seen(event.t_ns)
        self._guard(lambda: self._append_event(event))

    def add_servo_ticks(self, ticks: NDArray[Any]) -> None:
        """Record servo ticks: (n,) SERVO_TICK, oldest first."""
        if not len(ticks) or self._servo is None:
            return
        self._seen(int(ticks["t_ns"][-1]))
        servo = self._servo
        self._guard(lambda: servo.append(ticks))
        if (mcap := self._mcap) is not None:
            self._guard(lambda: mcap.commands(ticks))

    def write_inputs(self, inputs: msgspec.Struct) -> None:
        """Record the settings that a replay runs under."""
        payload = msgspec.json.format(msgspec.json.encode(inputs), indent=2) + b"\n"
        self._guard(lambda: write_atomically(self._folder.inputs, payload))

    def add_arm_calls(self, calls: NDArray[Any]) -> None:
        """Record calls of the arm controller: (n,) ARM_CALL, oldest first."""
        if not len(calls) or self._calls is None:
            return
        self._seen(int(calls["t_ns"][-1]))
        file = self._calls
        self._guard(lambda: file.append(calls))

    def add_arm_state(self, state: ArmState) -> None:
        """Record what the arm reports."""
        self._seen(state.t_ns)
        self._guard(lambda: self._append_state(state))

    def add_frame(self, camera: str, t_ns: int, image_hwc: NDArray[np.uint8]) -> None:
        """Record a camera frame (h, w, 3) uint8: all into MCAP, one of two into the video."""
        if (mcap := self._mcap) is not None:
            self._guard(lambda: mcap.picture(camera, t_ns, image_hwc))
        video = self._video
        if video is None:
            return
        self._seen(t_ns)
        try:
            self._guard(lambda: video.add(camera, t_ns, image_hwc))
        except VideoUnavailable as error:
            self._video = None
            self._note(f"The video ends here: {error}")

    def close(self) -> None:
        """Finish the files; twice is once."""
        if self._closed:
            return
        self._closed = True
        if self._unsaved_counts is not None:
            self._guard(lambda: self._append_counts(self._unsaved_counts))
        self._close_files()

    def _open(self, folder: RunFolder) -> None:
        self._events = AppendFile(folder.events)
        self._servo = AppendArray(folder.servo, SERVO_TICK)
        self._arm = AppendArray(folder.arm, ARM_SAMPLE)
        self._calls = AppendArray(folder.calls, ARM_CALL)
        self._counts = AppendFile(folder.counts)

    def _open_video(self, folder: RunFolder, cameras: Sequence[str]) -> None:
        try:
            self._video = VideoWriter(folder.video, cameras)
        except VideoUnavailable as error:
            self._note(f"No video is recorded: {error}")

    def _open_mcap(self, folder: RunFolder, mcap_bytes: int) -> None:
        def open_log() -> None:
            self._mcap = McapLog(folder.path, mcap_bytes, about(folder))

        try:
            self._guard(open_log)
        except McapUnavailable as error:
            self._note(f"No MCAP is recorded: {error}")

    def _append_event(self, event: AnyEvent) -> None:
        if self._events is not None:
            self._events.append(self._encoder.encode(event) + b"\n")
        if self._mcap is not None:
            self._mcap.event(event)

    def _append_state(self, state: ArmState) -> None:
        if self._arm is None:
            return
        self._arm.append(arm_sample(state))
        if self._mcap is not None:
            self._mcap.arm_state(state)
        counts = ArmCounts(t_ns=state.t_ns, accepted=state.accepted, rejected=state.rejected)
        self._unsaved_counts = counts
        changed = state.rejected != self._saved_rejected
        if changed and state.t_ns - self._counts_ns >= COUNTS_PERIOD_NS:
            self._append_counts(counts)

    def _append_counts(self, counts: ArmCounts | None) -> None:
        if self._counts is None or counts is None:
            return
        self._counts.append(self._encoder.encode(counts) + b"\n")
        self._counts_ns = counts.t_ns
        self._saved_rejected = counts.rejected
        self._unsaved_counts = None

    def _seen(self, t_ns: int) -> None:
        self._newest_ns = max(self._newest_ns, t_ns)

    def _guard(self, write: Callable[[], None]) -> None:
        """Run a write; the first one that the system refuses ends the recording."""
        if self.failed:
            return
        try:
            write()
        except OSError as error:
            self._failure = error.strerror or str(error)
            self._tell_the_end()
            self._close_files()

    def _tell_the_end(self) -> None:
        """Say that the recording ended, in the folder too if a line still fits there."""
        note = Note(
            t_ns=self._newest_ns,
            source="recorder",
            text=(
                f"The recording ended here: {self._failure}. "
                "What was recorded until now can be read."
            ),
        )
        if self._sink is not None:
            self._sink.emit(note)
        try:
            self._append_event(note)
        except OSError:
            pass  # the sink has heard it

    def _note(self, text: str) -> None:
        note = Note(t_ns=self._newest_ns, source="recorder", text=text)
        if self._sink is not None:
            self._sink.emit(note)
        self._guard(lambda: self._append_event(note))

    def _close_files(self) -> None:
        """Close what is open; a disk that is full may refuse even that."""
        arrays = (self._servo, self._arm, self._calls)
        files = (self._video, self._mcap, *arrays, self._counts, self._events)
        self._video = self._mcap = None
        self._servo = self._arm = self._calls = self._counts = self._events = None
        for file in files:
            try:
                if file is not None:
                    file.close()
            except OSError as error:
                self._failure = self._failure or error.strerror or str(error)
