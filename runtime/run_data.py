"""Read a run folder back: whatever is there, with what is missing told in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.append_file import as_rows, read_rows
from dvla.runtime.arm_samples import ARM_SAMPLE
from dvla.runtime.clock import NS_PER_S
from dvla.runtime.events import AnyEvent
from dvla.runtime.recorder import ArmCounts
from dvla.runtime.recordings.recorded_rows import RECORDED_STEP
from dvla.runtime.replay.journal import ARM_CALL
from dvla.runtime.run_folder import RunFolder, RunFolderError, RunManifest
from dvla.runtime.telemetry import SERVO_TICK

Event = AnyEvent


class RunData:
    """Everything of one run, in memory.

    Attributes:
        events: in the order of their times.
        servo: (n,) SERVO_TICK rows; arm: (m,) ARM_SAMPLE rows.
        counts: the arm's counters, oldest first.
        recorded: (r,) RECORDED_STEP rows of a replayed episode; none in other runs.
        calls: (k,) ARM_CALL rows, for replays; empty where none were asked for.
        video: the film, where there is one.
        warnings: what could not be read, in sentences.
    """

    def __init__(
        self,
        *,
        folder: RunFolder,
        manifest: RunManifest,
        events: list[Event],
        servo: NDArray[Any],
        arm: NDArray[Any],
        counts: list[ArmCounts],
        warnings: list[str],
        calls: NDArray[Any] | None = None,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.config = folder.read_config()
        self.calls = calls if calls is not None else np.zeros(0, ARM_CALL)
        self.events = events
        self.servo = servo
        self.arm = arm
        self.counts = counts
        self.recorded = _read_recorded(folder.recorded, warnings)
        self.video = folder.video if _has_bytes(folder.video) else None
        self.warnings = warnings

    @property
    def end_ns(self) -> int:
        """When the last recorded thing happened."""
        times = [self.manifest.started_ns]
        if self.events:
            times.append(self.events[-1].t_ns)
        times += [int(rows["t_ns"][-1]) for rows in (self.servo, self.arm) if len(rows)]
        return max(times)


def load_run(path: Path | str, *, calls: bool = False) -> RunData:
    """Read a run folder.

    Args:
        path: of the folder.
        calls: read the journal of the arm controller as well.

    A file that a kill cut off is read up to the cut. A file with something else in it is refused,
    because numbers from half-understood files would be worse than none.

    Raises:
        RunFolderError: this is no run folder, or a file of it is damaged.
    """
    folder = RunFolder(path)
    manifest = folder.read_manifest()
    warnings: list[str] = []
    events = _read_lines(folder.events, _decode_event, warnings)
    events.sort(key=lambda event: event.t_ns)
    servo = _read_array(folder.servo, SERVO_TICK, warnings)
    arm = _read_array(folder.arm, ARM_SAMPLE, warnings)
    warnings += lost_states(arm, servo)
    counts = _read_lines(folder.counts, _decode_counts, warnings)
    return RunData(
        folder=folder,
        manifest=manifest,
        events=events,
        servo=servo,
        arm=arm,
        counts=counts,
        warnings=warnings,
        calls=_read_array(folder.calls, ARM_CALL, warnings) if calls else None,
    )


def lost_states(arm: NDArray[Any], servo: NDArray[Any]) -> list[str]:
    """Say what is missing of the arm's states: between two of them, or at their end."""
    if not len(arm):
        return []
    told = []
    if (lost := int(arm["sequence"][-1]) - int(arm["sequence"][0]) + 1 - len(arm)) > 0:
        told.append(f"{lost} states of the arm were lost to the recorder")
    if len(servo) and (short_ns := int(servo["t_ns"][-1]) - int(arm["t_ns"][-1])) > NS_PER_S:
        told.append(f"the last {short_ns / NS_PER_S:.1f} s of the arm's states were not recorded")
    return [
        f"{what[0].upper()}{what[1:]}: the recorder came too seldom to its turn. What they would "
        "have shown is missing here, and a replay ends there."
        for what in told
    ]


def _read_lines(path: Path, decode: Any, warnings: list[str]) -> list[Any]:
    """Return the records of a JSON-lines file; a torn last line is left out, with a warning."""
    try:
        *lines, tail = path.read_bytes().split(b"\n")
    except OSError:
        warnings.append(f"{path.name} is missing: the run ended before it was made, or it is lost.")
        return []
    if tail:
        warnings.append(f"{path.name} ends in the middle of a line; that line is left out.")
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RunFolderError(
                f"{path} is damaged in line {number}",
                got=str(error),
                expected="one JSON record per line, as dvla-run writes them",
            ) from error
    return records


_EVENTS: msgspec.json.Decoder[Event] = msgspec.json.Decoder(AnyEvent)
_COUNTS = msgspec.json.Decoder(ArmCounts)


def _decode_event(line: bytes) -> Event:
    """Decode an event; JSON has no NaN, so that a null in a number's place is one."""
    try:
        return _EVENTS.decode(line)
    except msgspec.ValidationError:
        record = json.loads(line)
        if not isinstance(record, dict) or None not in record.values():
            raise
        filled = {key: np.nan if value is None else value for key, value in record.items()}
        event: Event = msgspec.convert(filled, AnyEvent)
        return event


def _decode_counts(line: bytes) -> ArmCounts:
    return _COUNTS.decode(line)


def _read_array(path: Path, dtype: np.dtype[Any], warnings: list[str]) -> NDArray[Any]:
    """Return the rows of an array file; an empty or torn file gives what it has."""
    try:
        rows = read_rows(path)
    except OSError:
        warnings.append(f"{path.name} is missing: the run ended before it was made, or it is lost.")
        return np.zeros(0, dtype)
    except (ValueError, SyntaxError) as error:
        if not _has_bytes(path):
            warnings.append(f"{path.name} is empty.")
            return np.zeros(0, dtype)
        raise RunFolderError(f"{path} is damaged", got=str(error)) from error
    return as_rows(path, rows, dtype)


def _read_recorded(path: Path, warnings: list[str]) -> NDArray[Any]:
    """Return the steps of the episode that the run replayed; none where it replayed nothing."""
    if not path.exists():
        return np.zeros(0, RECORDED_STEP)
    return _read_array(path, RECORDED_STEP, warnings)


def _has_bytes(path: Path) -> bool:
    """Whether there is a file with something in it."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
