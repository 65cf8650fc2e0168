"""Pictures of the twin: a snapshot in, one RGB picture per camera out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.twin.arm_model import ARM_JOINTS, FINGER_JOINTS
from dvla.runtime.twin.dependencies import import_mujoco
from dvla.runtime.twin.gl import open_gl
from dvla.runtime.twin.objects import draw_episode, task_from_code
from dvla.runtime.twin.scene import (
    CAMERAS,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    OBJECT_JOINT,
    build_model,
    dress_object,
)
from dvla.runtime.twin.snapshot import TwinSnapshot


class TwinRenderer:
    """Renders snapshots, in the process and thread that made it.

    No shadows and no multi-sampling: on a software renderer they cost more than all the rest.

    Args:
        arm_model: MJCF file that replaces the arm's look.
        width: of the pictures [px].
        height: of the pictures [px].

    Raises:
        MissingDependency: when neither EGL nor OSMesa works.
    """

    def __init__(
        self,
        arm_model: Path | None = None,
        *,
        width: int = IMAGE_WIDTH,
        height: int = IMAGE_HEIGHT,
    ) -> None:
        self._mujoco = mujoco = import_mujoco()
        self._model = build_model(arm_model)
        self._model.vis.global_.offwidth, self._model.vis.global_.offheight = width, height
        self._data = mujoco.MjData(self._model)
        self.platform, self._gl = open_gl(width, height)
        self._gl.make_current()
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(self._model, maxgeom=100)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[flag] = 0
        self._option = mujoco.MjvOption()
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera_ids = {name: self._model.camera(name).id for name in CAMERAS}
        self._upside_down = np.empty((height, width, 3), np.uint8)
        joints = [self._model.joint(name) for name in (*ARM_JOINTS, *FINGER_JOINTS)]
        at = self._model.joint(OBJECT_JOINT).qposadr[0]
        self._qpos_at = np.array([*(j.qposadr[0] for j in joints), *range(at, at + 7)])
        self._dressed: tuple[int, int, int] | None = None

    def render(self, snapshot: TwinSnapshot, camera: str, out: NDArray[np.uint8]) -> None:
        """Render one camera into a buffer.

        Args:
            snapshot: what to show.
            camera: one of ``CAMERAS``.
            out: (height, width, 3) uint8, RGB, first row at the top.
        """
        mujoco = self._mujoco
        self._pose(snapshot)
        self._camera.fixedcamid = self._camera_ids[camera]
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            self._option,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(self._upside_down, None, self._viewport, self._context)
        out[:] = self._upside_down[::-1]

    def _pose(self, snapshot: TwinSnapshot) -> None:
        """Put the model into the state of a snapshot, its object dressed for the episode."""
        dressed = (snapshot.seed, snapshot.kind, snapshot.colour)
        if dressed != self._dressed:
            spec = draw_episode(snapshot.seed, task_from_code(snapshot.kind, snapshot.colour))
            dress_object(self._model, spec)
            self._dressed = dressed
        self._data.qpos[self._qpos_at] = snapshot.qpos
        self._mujoco.mj_kinematics(self._model, self._data)
        self._mujoco.mj_camlight(self._model, self._data)

    def close(self) -> None:
        """Let go of the OpenGL context."""
        self._context.free()
        self._gl.free()
