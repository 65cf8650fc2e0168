"""The run folder: where everything that a run was lies, readable after any kind of end.

config.json     the configuration, as given
manifest.json   versions, machine, command line, process ids
events.jsonl    one event per line
servo.npy       one SERVO_TICK row per servo tick
arm.npy         one ARM_SAMPLE row per arm state
counts.jsonl    the arm's command counters, whenever they change by reason
inputs.json     the settings that the scheduler, the servo and the gate ran under
calls.npy       one ARM_CALL row per call of the arm controller, for dvla-replay
recorded.npy    in a replay, one RECORDED_STEP row per step of the episode
video.mp4       the cameras side by side
recording-*.mcap   with --mcap: everything once more, every picture of every camera among it
run.rrd, viewer.log   with --viz, where there is no display: for rerun, and what the viewer said
summary.json    the numbers, computed from the files above
report.html     the same for people
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dvla.engines.errors import DvlaError
from dvla.engines.files import write_atomically
from dvla.runtime.machine import Machine

SCHEMA = 1
MAX_PERIOD_S, MAX_CHUNK, MAX_RATE_HZ = 60.0, 100_000, 100_000.0
"""What no run is beyond; a manifest that says so was damaged."""


class RunFolderError(DvlaError):
    """A run folder cannot be made, or what lies there is not one."""


class RunManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run was: enough to read its files without the program that wrote them.

    Attributes:
        started_utc: wall-clock time of the start, ISO 8601; the only one in a run folder.
        started_ns: the same moment on the host's monotonic clock, which stamps everything else.
        control_period_s: between two actions of a chunk; chunk_size: actions of one.
        servo_rate_hz: commands per second to the arm controller.
        policy: what decided the actions: a bundle's name, or ``oracle``.
        pids: process name -> process id.
        shadow: nothing was to reach the arm's driver, or there was none (a replay).
        ending: why the run ended before its time, in words; empty at a normal end and after a kill.
        delays_s: delays of the set-up that due times and capture times were corrected by: ``arm``
            and cameras, by name.
    """

    robot: str
    sim: bool
    policy: str
    task: str
    started_utc: str
    started_ns: Annotated[int, Meta(ge=0)]
    control_period_s: Annotated[float, Meta(gt=0.0, le=MAX_PERIOD_S)]
    chunk_size: Annotated[int, Meta(ge=1, le=MAX_CHUNK)]
    servo_rate_hz: Annotated[float, Meta(gt=0.0, le=MAX_RATE_HZ)]
    version: str
    machine: Machine
    command: tuple[str, ...] = ()
    pids: dict[str, int] = {}
    shadow: bool = False
    ending: str = ""
    delays_s: dict[str, float] = {}
    schema: int = SCHEMA

    @property
    def started(self) -> str:
        """When it started, for people."""
        return f"{self.started_utc[:19].replace('T', ' ')} UTC"


class RunFolder:
    """Paths of one run and its two JSON records.

    Args:
        path: the folder; ``create`` makes a new one.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.manifest = self.path / "manifest.json"
        self.events = self.path / "events.jsonl"
        self.servo = self.path / "servo.npy"
        self.arm = self.path / "arm.npy"
        self.counts = self.path / "counts.jsonl"
        self.inputs = self.path / "inputs.json"
        self.calls = self.path / "calls.npy"
        self.recorded = self.path / "recorded.npy"
        self.video = self.path / "video.mp4"
        self.summary = self.path / "summary.json"
        self.report = self.path / "report.html"

    @classmethod
    def create(
        cls, root: Path | str, robot: str, *, sim: bool, started: datetime | None = None
    ) -> RunFolder:
        """Make a new folder ``<UTC time>-<robot>[-sim]`` under ``root``; never reuse one.

        Raises:
            RunFolderError: the folder cannot be made; a run may go on without a recording.
        """
        moment = (started or datetime.now(timezone.utc)).astimezone(timezone.utc)
        slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", robot) + ("-sim" if sim else "")
        stem = f"{moment:%Y%m%dT%H%M%SZ}-{slug}"
        try:
            Path(root).mkdir(parents=True, exist_ok=True)
            for attempt in range(1, 1000):
                path = Path(root) / (stem if attempt == 1 else f"{stem}-{attempt}")
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                return cls(path)
        except OSError as error:
            raise RunFolderError(
                f"No run folder can be made under {root}",
                got=error.strerror,
                expected="a folder that may be written to",
                next_command="choose another one with --out",
            ) from error
        raise RunFolderError(f"A thousand runs began within one second under {root}")

    def write_config(self, config: Any) -> None:
        """Record the configuration: a struct, a mapping, anything that msgspec encodes."""
        write_atomically(self.config, _pretty(config))

    def write_manifest(self, manifest: RunManifest) -> None:
        """Record the manifest; writing again (with the process ids, say) replaces it whole."""
        write_atomically(self.manifest, _pretty(manifest))

    def read_manifest(self) -> RunManifest:
        """Return the manifest.

        Raises:
            RunFolderError: there is none, or it is damaged or of another version.
        """
        try:
            manifest = msgspec.json.decode(self.manifest.read_bytes(), type=RunManifest)
        except OSError as error:
            raise RunFolderError(
                f"{self.path} is not a run folder",
                got=f"{self.manifest.name}: {error.strerror}",
                expected="a folder written by dvla-run, such as runs/20260102T030405Z-franka-sim",
            ) from error
        except msgspec.MsgspecError as error:
            raise RunFolderError(
                f"{self.manifest} is damaged or of another version",
                got=str(error),
                expected=f"a manifest of schema {SCHEMA}",
            ) from error
        if manifest.schema != SCHEMA:
            raise RunFolderError(
                f"{self.manifest} is of another version",
                got=f"schema {manifest.schema}, written by dvla {manifest.version}",
                expected=f"a manifest of schema {SCHEMA}",
                next_command="use the version of dvla that wrote it",
            )
        return manifest

    def read_config(self) -> dict[str, Any]:
        """Return the configuration as plain values; empty when there is none to read."""
        try:
            config = msgspec.json.decode(self.config.read_bytes())
        except (OSError, msgspec.MsgspecError):
            return {}
        return config if isinstance(config, dict) else {}


def _pretty(value: Any) -> bytes:
    """Return indented JSON; values that JSON lacks, such as paths, become text."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2) + b"\n"
