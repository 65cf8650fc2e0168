"""One recorded episode: what the arm was told, what it measured, and the films beside it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.engines.manifest import PolicyFacts
from dvla.runtime.pose import actions_from_setpoints, setpoints_from_actions
from dvla.runtime.recordings.lerobot import ACTION, STATE, LeRobotDataset
from dvla.runtime.recordings.lerobot_tables import INFO_NAME
from dvla.runtime.recordings.run_film import RunFilm

MAX_LEAD_M = 0.4
"""An absolute action lies near the state that it was decided in."""
FPS_TOLERANCE = 0.01


class FilmPart(msgspec.Struct, frozen=True, kw_only=True):
    """Where the pictures of one camera are: a film, from when on [s], and which columns of it.

    The whole picture when its width is 0.
    """

    path: str
    start_s: float = 0.0
    left: int = 0
    width: int = 0
    height: int = 0


class RecordedEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """An episode in memory; its films are read while it is replayed.

    Attributes:
        origin: where it is from, for people.
        t_s: (n,) float64, times of the steps from the episode's beginning.
        states: (n, 8) float64 setpoints as measured.
        actions: (n, 7) float32 absolute [m, rad, -] as recorded.
        films: of every camera, by feature name.
    """

    origin: str
    number: int
    instruction: str
    t_s: NDArray[np.float64]
    states: NDArray[np.float64]
    actions: NDArray[np.float32]
    films: dict[str, FilmPart]

    @property
    def length_s(self) -> float:
        """From the first step to the last."""
        return float(self.t_s[-1])


def parse_episode(text: str) -> tuple[Path, int]:
    """Return the folder and the number of ``DATASET[:N]``; without N the first episode.

    Raises:
        UsageError: N is not a number.
    """
    path = Path(text)
    folder, colon, number = text.rpartition(":")
    if path.exists() or not colon:
        return path, 0
    if not number.isdigit():
        raise UsageError(
            "--episode is not DATASET[:N]", got=repr(text), expected="as in my_dataset:3"
        )
    return Path(folder), int(number)


def load_episode(
    path: Path, number: int, facts: PolicyFacts, *, films: tuple[str, ...] = ()
) -> RecordedEpisode:
    """Read an episode of a LeRobot dataset (v2.1, v3.0) or of a run folder.

    Args:
        path: of the folder.
        number: of the episode; a run folder has only the one.
        facts: of the policy that will see it.
        films: image columns to take of a dataset, of whatever size; none takes the policy's
            cameras. The film of a run folder has these alone.

    Raises:
        UsageError: there is no such episode, or not for this policy.
        MissingDependency: what reads it is not installed.
    """
    if facts.state_width not in (6, 7):
        raise UsageError(
            "the policy's state is no pose, so that a recorded arm cannot stand in for its arm",
            got=f"{facts.state_width} numbers",
            expected="6 numbers, 7 with the gripper",
        )
    if (path / INFO_NAME).is_file():
        seen = msgspec.structs.replace(facts, cameras=films or facts.cameras)
        return _of_dataset(path, number, seen, any_size=bool(films))
    if (path / "manifest.json").is_file():
        return _of_run(path, number, facts)
    raise UsageError(
        f"--episode {path} holds no episode",
        got=f"a folder without {INFO_NAME}" if path.is_dir() else "no folder",
        expected="a LeRobot dataset (v2.1 or v3.0), or a run folder of dvla-run",
    )


def _of_dataset(path: Path, number: int, facts: PolicyFacts, *, any_size: bool) -> RecordedEpisode:
    dataset = LeRobotDataset(path, facts, any_size=any_size)
    if abs(dataset.fps * facts.control_period_s - 1.0) > FPS_TOLERANCE:
        raise UsageError(
            f"{path} was recorded at another rate than the policy acts",
            got=f"{dataset.fps:g} frames per second",
            expected=f"{1 / facts.control_period_s:g}, one step per control period",
        )
    episode = next((each for each in dataset.episodes if each.index == number), None)
    if episode is None:
        last = max(each.index for each in dataset.episodes)
        raise UsageError(f"{path} has no episode {number}", expected=f"one of 0 to {last}")
    if not dataset.has(ACTION):
        raise UsageError(f"{path} holds no recorded actions", expected=f"a column {ACTION}")
    rows = dataset.steps(episode, STATE, ACTION)
    states = np.array([row[STATE] for row in rows], np.float64)
    actions = np.array([row[ACTION] for row in rows], np.float32)
    t_s = np.array([row["timestamp"] for row in rows], np.float64)
    width = len(facts.action_names)
    if actions.ndim != 2 or actions.shape[1] != width:
        raise UsageError(
            f"{path} was recorded with other actions than the policy's",
            got=f"{actions.shape[-1]} numbers",
            expected=", ".join(facts.action_names),
        )
    if not (np.isfinite(actions).all() and np.isfinite(states).all() and (np.diff(t_s) > 0).all()):
        raise UsageError(
            f"Episode {number} of {path} has steps without numbers, or out of their order"
        )
    lead_m = float(np.median(np.linalg.norm(actions[:, :3] - states[:, :3], axis=1)))
    if lead_m > MAX_LEAD_M:
        raise UsageError(
            f"The actions in {path} are no absolute poses in the frame of its states",
            got=f"a median distance of {lead_m:.2f} m from action to state",
            expected=f"at most {MAX_LEAD_M} m",
        )
    # The state knows the gripper only in its seventh number; before that its last action does.
    gripper = states[:, 6:7] if states.shape[1] == 7 else actions[:, 6:7]
    poses = setpoints_from_actions(np.concatenate([states[:, :6], gripper], axis=1))
    if states.shape[1] == 7:
        poses[:, 7] = states[:, 6]
    return RecordedEpisode(
        origin=f"LeRobot dataset {path.resolve().name}, episode {number}",
        number=number,
        instruction=dataset.task(rows[0]["task_index"], number),
        t_s=t_s - t_s[0],
        states=poses,
        actions=actions,
        films={
            key: FilmPart(path=str(film.path.resolve()), start_s=film.start_s + t_s[0])
            for key, film in episode.films.items()
        },
    )


def _of_run(path: Path, number: int, facts: PolicyFacts) -> RecordedEpisode:
    if number:
        raise UsageError(f"{path} is a run folder, which is one episode", got=f":{number}")
    film = RunFilm(path, facts)
    rows, instruction = film.arm, film.task
    step_ns = round(facts.control_period_s * 1e9)
    grid_ns = np.arange(rows["t_ns"][0], rows["t_ns"][-1], step_ns)
    picked = np.searchsorted(rows["t_ns"], grid_ns)
    rows = rows[np.unique(picked)]
    return RecordedEpisode(
        origin=film.description,
        number=0,
        instruction=instruction,
        t_s=(rows["t_ns"] - rows["t_ns"][0]) * 1e-9,
        states=np.array(rows["measured"], np.float64),
        actions=actions_from_setpoints(rows["commanded"]),
        films={
            key: FilmPart(
                path=str(film.path.resolve()),
                start_s=(int(rows["t_ns"][0]) - film.begin_ns) * 1e-9,
                left=place * film.cell_width,
                width=facts.camera_width,
                height=facts.camera_height,
            )
            for place, key in enumerate(facts.cameras)
        },
    )
