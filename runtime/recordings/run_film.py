"""Observations of a run folder: its film, with the arm's states beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dvla.engines.errors import UsageError
from dvla.engines.manifest import PolicyFacts
from dvla.runtime.events import EpisodeStarted
from dvla.runtime.pose import state_from_setpoint
from dvla.runtime.recordings.film import frames_at
from dvla.runtime.recordings.film_reader import FilmReader
from dvla.runtime.recordings.lerobot import Observed, other_size
from dvla.runtime.run_data import load_run
from dvla.runtime.video import FRAME_HZ

_NS = 1e-9


class RunFilm:
    """A recorded run, checked against a policy.

    The film is compressed and shows the cameras side by side, in the policy's order. States from
    before it begins are left out.

    Args:
        path: of the run folder.
        facts: cameras, frame size, history and state width of the policy.

    Raises:
        RunFolderError: a file of the run is damaged.
        UsageError: nothing was filmed, the arm was not recorded, or the policy had no task.

    Attributes:
        begin_ns: when the film begins.
    """

    def __init__(self, path: Path, facts: PolicyFacts) -> None:
        self._facts, self._run = facts, load_run(path)
        run = self._run
        begun = (event.text for event in run.events if isinstance(event, EpisodeStarted))
        task = run.manifest.task or next(begun, "")  # a twin makes its own instruction
        if run.video is None or len(run.arm) < 2:
            raise UsageError(
                f"The run {path} cannot be calibrated on",
                got="no film" if run.video is None else "no states of the arm",
                expected="a run that filmed its cameras; pip install 'dvla[viz]' lets it",
            )
        if not task.strip():
            raise UsageError(f"The run {path} had no task, so that a policy has no instruction")
        self._video, self._task = run.video, task
        if facts.state_width not in (6, 7):
            raise UsageError(
                f"The run {path} was recorded on another arm than the policy moves",
                got="states of 6 numbers, 7 with the gripper",
                expected=f"states of {facts.state_width}",
            )

        film = FilmReader(run.video)
        film.close()
        self.begin_ns = film.begin_ns or int(run.arm["t_ns"][0])
        known = np.isfinite(run.arm["measured"][:, : facts.state_width + 1]).all(axis=1)
        self.arm = run.arm[known & (run.arm["t_ns"] >= self.begin_ns)]
        if len(self.arm) < 2:
            raise UsageError(
                f"The run {path} has no states of the arm beside its film",
                got=f"{len(self.arm)} of {len(run.arm)} from when the film begins",
                expected=f"states of {facts.state_width} numbers, as a recorder keeps them that is "
                "not starved",
            )

    @property
    def path(self) -> Path:
        """The film."""
        return self._video

    @property
    def task(self) -> str:
        """The instruction of the run."""
        return self._task

    @property
    def cell_width(self) -> int:
        """Columns of the film that one camera takes, its width made even [pixels]."""
        return self._facts.camera_width + self._facts.camera_width % 2

    @property
    def description(self) -> str:
        """What the observations are of, for people."""
        return f"run {self._run.folder.path.resolve().name}"

    def observations(self, count: int) -> Iterator[Observed]:
        """Yield frames (cameras, n_obs, h, w, 3), states (n_obs, S), instruction; evenly spread."""
        facts, arm = self._facts, self.arm
        back_s = np.array(facts.history_steps) * facts.control_period_s
        clock_s = (arm["t_ns"] - self.begin_ns) * _NS
        # The film may end before the states do; its last picture is within a tenth of them.
        times_s = (
            -back_s.min() + (clock_s[-1] * 0.8 + back_s.min()) * (np.arange(count) + 0.5) / count
        )
        wanted_s = np.maximum(times_s[:, None] + back_s, 0.0)
        pictures = frames_at(self._video, wanted_s.ravel().tolist(), 1.0 / FRAME_HZ)
        cameras, height, width = len(facts.cameras), facts.camera_height, facts.camera_width
        even = (height + height % 2, self.cell_width * cameras)
        if pictures.shape[1:3] != even:
            raise other_size(self._video, pictures.shape[2] // cameras, pictures.shape[1], facts)
        cells = np.split(pictures, cameras, axis=2)
        frames = np.stack([cell[:, :height, :width] for cell in cells], axis=1)
        frames = frames.reshape(count, len(back_s), cameras, height, width, 3).swapaxes(1, 2)
        picked = np.minimum(np.searchsorted(clock_s, wanted_s), len(arm) - 1)
        measured = arm["measured"][picked]
        states = np.concatenate([state_from_setpoint(measured), measured[..., 7:]], axis=-1)
        states = states[..., : facts.state_width].astype(np.float32)
        for case in range(count):
            yield np.ascontiguousarray(frames[case]), states[case], self._task
