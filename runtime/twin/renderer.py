"""Pictures of the twin: a snapshot in, one RGB picture per camera out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.twin.bodies import FRANKA_BODY, TwinBody, body_of_code
from dvla.runtime.twin.dependencies import import_mujoco
from dvla.runtime.twin.gl import open_gl
from dvla.runtime.twin.objects import EpisodeSpec
from dvla.runtime.twin.scene import (
    CAMERAS,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    build_model,
    dress_object,
)
from dvla.runtime.twin.scenes.model import build_scene, joint_name
from dvla.runtime.twin.scenes.recall import spec_of
from dvla.runtime.twin.scenes.spec import SceneSpec
from dvla.runtime.twin.snapshot import ARM_DOF, FINGER_DOF, TwinSnapshot


class TwinRenderer:
    """Renders snapshots, in the process and thread that made it.

    The first snapshot of another arm than the one before loads that arm. No shadows and no
    multi-sampling: on a software renderer they cost more than all the rest.

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
        self._arm_model, self._size = arm_model, (width, height)
        self.platform, self._gl = open_gl(width, height)
        self._gl.make_current()
        self._option = mujoco.MjvOption()
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._upside_down = np.empty((height, width, 3), np.uint8)
        self._context: Any = None
        self._body: TwinBody = FRANKA_BODY
        self._load(build_model(arm_model))
        self._plain = True
        self._dressed: tuple[int, ...] | None = None

    def _load(self, model: Any, objects: int = 1) -> None:
        """Take a model; its patterns and shapes go to the graphics library once."""
        mujoco = self._mujoco
        self._model, self._data = model, mujoco.MjData(model)
        model.vis.global_.offwidth, model.vis.global_.offheight = self._size
        if self._context is not None:
            self._context.free()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=100)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[flag] = 0
        self._camera_ids = {name: model.camera(name).id for name in CAMERAS}
        names = (*self._body.joints, *self._body.fingers)
        joints = [model.joint(name) for name in names]
        self._arm_at = np.array([joint.qposadr[0] for joint in joints])
        free = [model.joint(joint_name(index)).qposadr[0] for index in range(objects)]
        self._objects_at = [slice(at, at + 7) for at in free]

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

    def picture(self, snapshot: TwinSnapshot, camera: str) -> NDArray[np.uint8]:
        """Return the picture of one camera, (height, width, 3), as ``render`` makes it."""
        out = np.empty_like(self._upside_down)
        self.render(snapshot, camera, out)
        return out

    def spot(self, snapshot: TwinSnapshot, camera: str, thing: int = 0) -> NDArray[np.float64]:
        """Return where the centre of an object is in a camera's picture.

        Args:
            snapshot: what is shown.
            camera: one of ``CAMERAS``.
            thing: the object's number.

        Returns:
            (2,) from the left and from the top, as a share of the picture's sides; NaN where the
            centre is outside the picture. It may be hidden behind something.
        """
        self._pose(snapshot)
        index, (width, height) = self._camera_ids[camera], self._size
        axes = self._data.cam_xmat[index].reshape(3, 3)
        right, up, back = (snapshot.object_at(thing)[0][:3] - self._data.cam_xpos[index]) @ axes
        half = -back * np.tan(np.radians(self._model.cam_fovy[index]) / 2.0)
        spot = np.array([right * height / width, -up])
        if half <= 0.0 or (np.abs(spot) > half).any():
            return np.full(2, np.nan)
        share: NDArray[np.float64] = 0.5 + spot / (2.0 * half)
        return share

    def _pose(self, snapshot: TwinSnapshot) -> None:
        """Put the model into the state of a snapshot, its object dressed for the episode."""
        self._gl.make_current()  # another renderer of this thread may have been, or have ended
        dressed = (snapshot.arm, snapshot.seed, snapshot.kind, snapshot.colour, snapshot.scene)
        if dressed != self._dressed:
            if snapshot.arm != self._body.code:
                self._body, self._plain = body_of_code(snapshot.arm), False
            self._dress(spec_of(snapshot))
            self._dressed = dressed
        arm, fingers = self._arm_at[:-FINGER_DOF], self._arm_at[-FINGER_DOF:]
        self._data.qpos[arm] = snapshot.qpos[: len(arm)]
        self._data.qpos[fingers] = snapshot.qpos[ARM_DOF : ARM_DOF + FINGER_DOF]
        for index, at in enumerate(self._objects_at):
            self._data.qpos[at] = snapshot.object_at(index)[0]
        self._mujoco.mj_kinematics(self._model, self._data)
        self._mujoco.mj_camlight(self._model, self._data)

    def _dress(self, spec: EpisodeSpec | SceneSpec) -> None:
        """Put the objects of an episode into the model; a scene has a model of its own."""
        if isinstance(spec, SceneSpec):
            self._load(build_scene(spec, self._arm_model, self._body), len(spec.things))
            self._plain = False
            return
        if not self._plain:
            self._load(build_model(self._arm_model, self._body))
            self._plain = True
        dress_object(self._model, spec)

    def close(self) -> None:
        """Let go of the OpenGL context."""
        self._gl.make_current()
        self._context.free()
        self._gl.free()
