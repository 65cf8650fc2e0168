"""The live viewer: follows the files of a run while they grow.

The run does not know of it: nothing is sent to it, nothing waits for it, and no memory is shared,
so that its death or its stall cannot reach the run.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from dvla.runtime.arm_samples import ARM_SAMPLE
from dvla.runtime.events import AnyEvent
from dvla.runtime.processes.spawn import how
from dvla.runtime.recordings.jpeg import decode_jpeg
from dvla.runtime.recordings.mcap_read import TOPIC, Picture
from dvla.runtime.recordings.tail import LineTail, McapTail, RowTail
from dvla.runtime.run_folder import RunFolder
from dvla.runtime.telemetry import SERVO_TICK
from dvla.runtime.viewer import STATE_EVERY, Scene
from dvla.runtime.viewer_window import has_display

TURN_S = 0.1


class LiveRun:
    """A run that is being recorded.

    Args:
        folder: of the run.
        scene: that shows it.
    """

    def __init__(self, folder: RunFolder, scene: Scene) -> None:
        self._folder, self._scene = folder, scene
        self._events = LineTail(folder.events)
        self._arm = RowTail(folder.arm, ARM_SAMPLE)
        self._servo = RowTail(folder.servo, SERVO_TICK)
        self._mcap = McapTail(folder.path)
        self._decode_event = msgspec.json.Decoder(AnyEvent).decode
        self._decode_picture = msgspec.json.Decoder(Picture).decode
        self.shown = 0

    def turn(self) -> int:
        """Show what has come since the last turn; returns how much that was."""
        shown = 0
        for row in self._arm.take()[::STATE_EVERY]:
            self._scene.arm(
                int(row["t_ns"]), row["commanded"], row["measured"], float(row["tracking_m"])
            )
            shown += 1
        for row in self._servo.take()[::STATE_EVERY]:
            self._scene.servo(int(row["t_ns"]), int(row["lateness_ns"]), int(row["t_obs_ns"]))
            shown += 1
        for line in self._events.take():
            try:
                self._scene.event(self._decode_event(line))
            except msgspec.MsgspecError:
                continue
            shown += 1
        for topic, t_ns, payload in self._mcap.take():
            if topic.startswith(TOPIC):
                image_hwc = decode_jpeg(base64.b64decode(self._decode_picture(payload).data))
                self._scene.picture(topic[len(TOPIC) :], t_ns, image_hwc)
                shown += 1
        self.shown += shown
        return shown

    @property
    def over(self) -> bool:
        """Whether the run has ended: its summary is there, or its supervisor is gone."""
        if self._folder.summary.exists():
            return True
        pid = self._folder.read_manifest().pids.get("supervisor", 0)
        return pid > 0 and not Path(f"/proc/{pid}").exists()


def follow(folder: RunFolder, scene: Scene) -> int:
    """Show a run until it is over; returns how much was shown."""
    live = LiveRun(folder, scene)
    while True:
        over = live.over
        if not live.turn() and over:
            return live.shown
        time.sleep(TURN_S)


class Viewer:
    """The viewer of a run, in a process of its own that nobody waits for, as nice as can be.

    Without a display it writes a file; what it says goes into ``viewer.log`` in the run folder.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._log, self._file = folder.path / "viewer.log", folder.path / "run.rrd"
        self._saves = not has_display()
        where: list[Any] = ["--save", self._file] if self._saves else []
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["nice", "-n", "19", sys.executable, "-m", "dvla.runtime.cli.view",
                 folder.path, "--live", *where],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def words(self) -> str:
        """How it is, for people."""
        code = self._process.poll()
        if code:
            return f"viewer: it ended early ({how(code)}), and the run went on; see {self._log}"
        if code is None and _stopped(self._process.pid):
            pid = self._process.pid
            return f"viewer: it was stopped, and the run went on; kill -CONT {pid} lets it catch up"
        if not self._saves:
            return "viewer: rerun shows the run"
        if code is None:
            return f"viewer: no display; writing {self._file} (rerun {self._file} shows it)"
        return f"viewer: written: {self._file}; rerun {self._file} shows it"


def _stopped(pid: int) -> bool:
    """Return whether somebody has stopped a process (SIGSTOP)."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return told.rpartition(")")[2].split()[:1] == ["T"]
