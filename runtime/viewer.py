"""The viewer: a run in rerun, live or from its folder, in a process of its own.

This file turns what was recorded into what is shown; ``viewer_live`` follows a run that goes on.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from dvla.engines.errors import MissingDependency
from dvla.runtime.clock import NS_PER_S
from dvla.runtime.events import (
    ActionInForce,
    AnyEvent,
    ArmModeChanged,
    ChunkArrived,
    ChunkMerged,
    CommandRejected,
    Note,
    SchedulerStateChanged,
)
from dvla.runtime.recordings.film_reader import FilmReader
from dvla.runtime.recordings.mcap_read import cameras_of, pictures
from dvla.runtime.run_data import RunData

STATE_EVERY = 4
JPEG_QUALITY = 75


def import_rerun() -> Any:
    """Return the rerun library.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return import_module("rerun")
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "The viewer needs rerun", got=str(error), next_command="pip install 'dvla[viz]'"
        ) from error


class Scene:
    """What is shown: cameras, the arm, the streams and their ages, on one time line.

    Args:
        rr: the rerun library.
        recording: a rerun recording stream.
        start_ns: where the time line begins.
    """

    def __init__(self, rr: Any, recording: Any, start_ns: int) -> None:
        self._rr, self._recording, self._start_ns = rr, recording, start_ns

    def picture(self, camera: str, t_ns: int, image_hwc: Any) -> None:
        """Show a picture (h, w, 3) uint8."""
        self._at(t_ns)
        self._log(f"cameras/{camera}", self._rr.Image(image_hwc).compress(JPEG_QUALITY))

    def arm(self, t_ns: int, commanded: Any, measured: Any, tracking_m: float) -> None:
        """Show where the tool is and where it was told to be: setpoints (8,)."""
        self._at(t_ns)
        points = np.array([commanded[:3], measured[:3]])
        colours = [[43, 108, 176], [221, 107, 32]]
        self._log(
            "arm/tool",
            self._rr.Points3D(points, colors=colours, radii=0.01, labels=["commanded", "measured"]),
        )
        for name, value in zip("xyz", measured[:3], strict=True):
            self._scalar(f"arm/measured/{name}", float(value))
        for name, value in zip("xyz", commanded[:3], strict=True):
            self._scalar(f"arm/commanded/{name}", float(value))
        self._scalar("arm/gripper", float(measured[7]))
        self._scalar("arm/tracking_mm", 1e3 * tracking_m)

    def path(self, name: str, t_ns: int, points: Any) -> None:
        """Show a path (n, 3) [m]."""
        self._at(t_ns)
        self._log(f"arm/{name}", self._rr.LineStrips3D([np.asarray(points, np.float32)]))

    def servo(self, t_ns: int, lateness_ns: int, t_obs_ns: int) -> None:
        """Show how late the servo woke, and how old what it acts on is."""
        self._at(t_ns)
        self._scalar("ages/servo_lateness_ms", lateness_ns / 1e6)
        if t_obs_ns > 0:
            self._scalar("ages/observation_ms", (t_ns - t_obs_ns) / 1e6)

    def event(self, event: AnyEvent) -> None:
        """Show an event: chunks as curves, the rest as lines of a log."""
        self._at(event.t_ns)
        match event:
            case ChunkArrived():
                self._scalar("streams/inference_ms", 1e3 * event.inference_s)
                actions = np.frombuffer(event.actions, "<f4").reshape(event.rows, event.columns)
                self.path("chunk", event.t_ns, actions[:, :3])
            case ChunkMerged():
                self._scalar("streams/seam_mm", 1e3 * event.seam_m)
                self._scalar("streams/actions_dropped", event.first_action)
            case ActionInForce():
                self._scalar("ages/action_in_force_ms", (event.t_ns - event.t_obs_ns) / 1e6)
            case SchedulerStateChanged():
                self._text("scheduler", f"{event.state} {event.detail}".strip())
            case ArmModeChanged():
                self._text("arm", f"{event.mode} {event.reason}".strip())
            case CommandRejected():
                self._text("arm", f"rejected {event.sequence}: {event.reason}", "WARN")
            case Note():
                self._text(event.source, event.text)
            case _:
                pass

    def _text(self, source: str, text: str, level: str = "INFO") -> None:
        self._log(f"log/{source}", self._rr.TextLog(text, level=level))

    def _scalar(self, name: str, value: float) -> None:
        self._log(name, self._rr.Scalars(value))

    def _at(self, t_ns: int) -> None:
        self._recording.set_time("run", duration=(t_ns - self._start_ns) / NS_PER_S)

    def _log(self, entity: str, what: Any) -> None:
        self._recording.log(entity, what)


def show_run(data: RunData, scene: Scene) -> None:
    """Show everything of a recorded run."""
    for row in data.arm[::STATE_EVERY]:
        if np.isfinite(row["measured"]).all():
            scene.arm(int(row["t_ns"]), row["commanded"], row["measured"], float(row["tracking_m"]))
    for row in data.servo[::STATE_EVERY]:
        scene.servo(int(row["t_ns"]), int(row["lateness_ns"]), int(row["t_obs_ns"]))
    for event in data.events:
        scene.event(event)
    cameras = cameras_of(data.folder.path)
    for camera in cameras:
        for t_ns, image_hwc in pictures(data.folder.path, camera):
            scene.picture(camera, t_ns, image_hwc)
    if not cameras and data.video is not None:
        film = FilmReader(data.video)
        begin_ns = film.begin_ns or data.manifest.started_ns
        for t_s, image_hwc in film.frames():
            scene.picture("film", begin_ns + round(t_s * NS_PER_S), image_hwc)
        film.close()
