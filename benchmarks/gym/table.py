"""What stays from episode to episode of ``dvla/DOM-v0``: robot, scenes, world and renderer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.dom.frozen import refuse_thawed
from dvla.benchmarks.gym.spaces import INSTRUCTION, STATE
from dvla.engines.errors import UsageError
from dvla.runtime.limits import ArmLimits
from dvla.runtime.pose import euler_from_quaternion
from dvla.runtime.robots import robot_with_twin
from dvla.runtime.twin.bodies import twin_body
from dvla.runtime.twin.renderer import TwinRenderer
from dvla.runtime.twin.scene import CAMERAS
from dvla.runtime.twin.scenes.asked import AskedScene, asked_scene
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.scenes.spec import SceneSpec
from dvla.runtime.twin.snapshot import TwinSnapshot
from dvla.runtime.twin.world import TwinWorld, WorldConfig

SIDES_PX = (16, 1280)


class Table:
    """The twin's table.

    Args:
        robot: whose twin.
        task: "pick", "place", "long", or the objects of the plain scene.
        scenes: "plain", one for training ("training", "training-one", "training-wide",
            "training-second"), or a dimension of the benchmark.
        width: of the pictures [px].
        height: of the pictures [px].

    Raises:
        DvlaError: something of it is unknown or out of bounds.
    """

    def __init__(self, robot: str, task: str, scenes: str | None, width: int, height: int) -> None:
        for name, side in (("width", width), ("height", height)):
            if not SIDES_PX[0] <= side <= SIDES_PX[1]:
                raise UsageError(
                    f"{name} is out of bounds",
                    got=side,
                    expected=f"{SIDES_PX[0]} to {SIDES_PX[1]} pixels",
                )
        self.robot = robot
        self.limits: ArmLimits = robot_with_twin(robot).twin_limits
        self._asked_for: tuple[str, str | None] = (task, scenes)
        self._asked: AskedScene = asked_scene(task, scenes)
        self._size = (width, height)
        self._world: TwinWorld | None = None
        self._renderer: TwinRenderer | None = None

    def lay(self, options: dict[str, Any]) -> None:
        """Take a task and scenes from the options of a reset; what is not named stays.

        Raises:
            UsageError: an option is unknown.
            ConfigError: its value is.
        """
        unknown = sorted(set(options) - {"task", "scenes"})
        if unknown:
            raise UsageError("unknown options", got=", ".join(unknown), choices=["task", "scenes"])
        if not options:
            return
        task, scenes = self._asked_for
        # Scenes that were chosen for another task are not meant for a new one.
        kept = None if "task" in options else scenes
        asked_for = options.get("task", task), options.get("scenes", kept)
        asked = asked_scene(*asked_for)
        self._asked_for = asked_for  # a wrong one has been refused
        if asked != self._asked:
            self._asked, self._world = asked, None

    def world_for(self, seed: int) -> TwinWorld:
        """Return the world for an episode; a test scene that was redrawn is refused."""
        if self._asked.scene is not None:
            layout = twin_body(self.robot).layout
            refuse_thawed(draw_scene(seed, self._asked.scene, layout), self.robot)
        if self._world is None:
            task, scene = self._asked.task, self._asked.scene
            self._world = TwinWorld(WorldConfig(robot=self.robot, task=task, scene=scene))
        return self._world

    def describe(self) -> dict[str, Any]:
        """Return what the episode is: its seed, and what its first object is like."""
        assert self._world is not None
        spec = self._world.spec
        told: dict[str, Any] = {"seed": spec.seed, "kind": spec.kind, "speed": spec.speed}
        if isinstance(spec, SceneSpec):
            told |= {"environment": spec.environment, "scenes": spec.choice.family}
        return told

    def observe(self, snapshot: TwinSnapshot) -> dict[str, Any]:
        """Return what a policy may see of a state: pictures, pose and instruction."""
        assert self._world is not None
        euler = euler_from_quaternion(snapshot.measured[3:7])
        euler[::2] %= 2.0 * np.pi
        seen: dict[str, Any] = {camera: self.picture(snapshot, camera) for camera in CAMERAS}
        seen[STATE] = np.array([*snapshot.measured[:3], *euler], np.float32)
        seen[INSTRUCTION] = self._world.spec.instruction
        return seen

    def picture(self, snapshot: TwinSnapshot, camera: str) -> NDArray[np.uint8]:
        """Return what a camera sees (height, width, 3)."""
        width, height = self._size
        if self._renderer is None:
            self._renderer = TwinRenderer(width=width, height=height)
        return self._renderer.picture(snapshot, camera)

    def close(self) -> None:
        """Let go of the renderer."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = None
