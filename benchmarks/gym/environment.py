"""``dvla/DOM-v0``: episodes of the benchmark as a gymnasium environment.

The class is made when it is asked for, so that this module imports without gymnasium.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.gym.spaces import action_space, observation_space
from dvla.benchmarks.gym.stepped import SteppedEpisode, stepped_config
from dvla.benchmarks.gym.table import Table
from dvla.engines.errors import MissingDependency, UsageError

if TYPE_CHECKING:
    import gymnasium

FIRST_DRAWN_SEED, LAST_DRAWN_SEED = 100_000, 2**31 - 1
"""Where episodes come from when ``reset`` is given no seed: never a test of the benchmark."""
RENDER_MODE = "rgb_array"


def import_gymnasium() -> ModuleType:
    """Return the module ``gymnasium``, or say how to install it."""
    try:
        import gymnasium
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "The environment dvla/DOM-v0 needs gymnasium",
            got=str(error),
            next_command='pip install "dvla[gym]"',
        ) from error
    return gymnasium


def open_environment(
    robot: str = "franka",
    task: str = "pick",
    scenes: str | None = None,
    width: int = 480,
    height: int = 360,
    render_mode: str | None = None,
) -> gymnasium.Env[dict[str, Any], NDArray[np.float32]]:
    """Return the environment; ``gymnasium.make`` calls this.

    Args:
        robot: whose twin.
        task: "pick", "place", "long", or the objects of the plain scene, as in "pick up the can".
        scenes: "plain", one for training ("training", "training-one", "training-wide",
            "training-second"), or a dimension of the benchmark.
        width: of the pictures [px].
        height: of the pictures [px].
        render_mode: "rgb_array" or None.

    Raises:
        DvlaError: an argument is unknown or out of bounds, or a package is missing.
    """
    made: gymnasium.Env[dict[str, Any], NDArray[np.float32]]
    made = environment_class()(robot, task, scenes, width, height, render_mode)
    return made


@lru_cache(maxsize=1)
def environment_class() -> Any:
    """Return the class, a ``gymnasium.Env``."""
    gym = import_gymnasium()

    class DomEnvironment(gym.Env):  # type: ignore[misc, name-defined]
        """One episode of the Dynamic Object Manipulation benchmark after another.

        Time stands still between steps: a step is one control period, whatever inference took.
        """

        metadata = {"render_modes": [RENDER_MODE], "render_fps": 25}  # noqa: RUF012

        def __init__(
            self,
            robot: str,
            task: str,
            scenes: str | None,
            width: int,
            height: int,
            render_mode: str | None,
        ) -> None:
            if render_mode not in (None, RENDER_MODE):
                raise UsageError(
                    "unknown render mode", got=repr(render_mode), choices=[RENDER_MODE, "None"]
                )
            self.render_mode = render_mode
            self._table = Table(robot, task, scenes, width, height)
            self._episode: SteppedEpisode | None = None
            self.action_space = action_space(gym.spaces, self._table.limits)
            self.observation_space = observation_space(gym.spaces, width, height)

        def reset(
            self, *, seed: int | None = None, options: dict[str, Any] | None = None
        ) -> tuple[dict[str, Any], dict[str, Any]]:
            """Begin an episode: its seed is the one given, or drawn, never a test's.

            Args:
                seed: of the episode, as ``dvla-bench dom`` counts them.
                options: ``task`` and ``scenes`` from this episode on.
            """
            super().reset(seed=seed)
            self._end()
            self._table.lay(options or {})
            drawn = self.np_random.integers(FIRST_DRAWN_SEED, LAST_DRAWN_SEED)
            number = int(drawn) if seed is None else seed
            world = self._table.world_for(number)
            config = stepped_config(self._table.robot)
            self._episode = SteppedEpisode(config, world, number)
            return self._observe(), self._tell(None)

        def step(
            self, action: NDArray[np.float32]
        ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
            """Play one control period of 40 ms out; the action is where the hand is at its end."""
            if self._episode is None or self._episode.outcome is not None:
                raise gym.error.ResetNeeded("The episode is over: call reset() first.")
            asked = np.asarray(action, np.float32)
            if asked.shape != self.action_space.shape or not np.isfinite(asked).all():
                raise UsageError(
                    "An action is 7 finite numbers",
                    got=f"{asked}",
                    expected="x, y, z [m], rx, ry, rz [rad] of the TCP, gripper (+1 open, -1)",
                )
            outcome = self._episode.step(asked)
            timeout = outcome == "timeout"
            ended = outcome is not None and not timeout
            reward = float(outcome == "success")
            return self._observe(), reward, ended, timeout, self._tell(outcome)

        def render(self) -> NDArray[np.uint8] | None:
            """Return the opposite camera's picture (height, width, 3), with a render mode."""
            if self.render_mode is None or self._episode is None:
                return None
            return self._table.picture(self._episode.snapshot, "opst_cam")

        def expert_action(self) -> NDArray[np.float32]:
            """Return what the privileged expert would do now (7,): for demonstrations."""
            if self._episode is None:
                raise gym.error.ResetNeeded("There is no episode: call reset() first.")
            return self._episode.expert_action()

        def close(self) -> None:
            """Let go of the episode and of the renderer."""
            self._end()
            self._table.close()

        def _end(self) -> None:
            if self._episode is not None:
                self._episode.close()
            self._episode = None

        def _observe(self) -> dict[str, Any]:
            assert self._episode is not None
            return self._table.observe(self._episode.snapshot)

        def _tell(self, outcome: str | None) -> dict[str, Any]:
            assert self._episode is not None
            told = self._table.describe() | self._episode.measures()
            return told | {"outcome": outcome or "", "is_success": outcome == "success"}

    DomEnvironment.__module__, DomEnvironment.__qualname__ = __name__, "DomEnvironment"
    return DomEnvironment
