"""A scene as a MuJoCo model: one body per object, containers of a few boxes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.twin.bodies import FRANKA_BODY, TwinBody
from dvla.runtime.twin.dependencies import import_mujoco
from dvla.runtime.twin.scene import (
    OBJECT_JOINT,
    add_material,
    friction_of,
    rolling_start,
    room_spec,
)
from dvla.runtime.twin.scenes.forms import parts_of
from dvla.runtime.twin.scenes.spec import Container, SceneSpec, Thing

if TYPE_CHECKING:
    import mujoco

WALL_M = 0.005
_FLOOR_M = 0.002
"""Half the thickness of a container's floor."""
_BOWL_SIDES = 10


def joint_name(index: int) -> str:
    """Return the name of an object's free joint, and of its body; the first is the plain one's."""
    return OBJECT_JOINT if index == 0 else f"{OBJECT_JOINT}{index}"


def build_scene(
    scene: SceneSpec, arm_model: Path | None = None, body: TwinBody = FRANKA_BODY
) -> mujoco.MjModel:
    """Compile a scene.

    Args:
        scene: what is in it.
        arm_model: MJCF file that replaces the arm's look.
        body: of the arm.
    """
    spec = room_spec(body, arm_model, scene.look)
    for index, thing in enumerate(scene.things):
        _add_thing(spec, joint_name(index), thing)
    if scene.container is not None:
        _add_container(spec, scene.container)
    model = spec.compile()
    for index, thing in enumerate(scene.things):
        at = model.joint(joint_name(index)).dofadr[0]
        model.dof_damping[at : at + 3] = thing.drag
    return model


def scene_starts(
    scene: SceneSpec,
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return qpos (7,) and qvel (6,) of each object at the start."""
    return [
        rolling_start(
            thing.kind, thing, thing.rest_z_m + (2 * _FLOOR_M if index < scene.delivered else 0.0)
        )
        for index, thing in enumerate(scene.things)
    ]


def _add_thing(spec: mujoco.MjSpec, name: str, thing: Thing) -> None:
    """Add an object: its primitive touches the table, the fingers and other objects."""
    mujoco = import_mujoco()
    shapes = {
        "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
        "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
        "box": mujoco.mjtGeom.mjGEOM_BOX,
    }
    r, half = thing.radius_m, thing.half_length_m
    shape, size = {
        "ball": ("sphere", (r, 0.0, 0.0)),
        "can": ("cylinder", (r, half, 0.0)),
        "cup": ("cylinder", (r, half, 0.0)),
        "box": ("box", (r, r, r)),
        "brick": ("box", (half, r, r)),
    }[thing.kind]
    body = spec.worldbody.add_body(name=name, pos=[0.5, 0.0, 0.5])
    body.add_freejoint(name=name)
    material = add_material(spec, name, thing.texture, thing.rgb)
    body.add_geom(
        name=name,
        type=shapes[shape],
        size=size,
        mass=thing.mass_kg,
        condim=6,
        contype=3,
        conaffinity=2,
        friction=friction_of(thing.kind, thing.deceleration, r),
        rgba=[*thing.rgb, 1],
        material=material,
    )
    for part in parts_of(thing.form, r, half):
        body.add_geom(
            type=shapes[part.shape],
            size=part.size,
            pos=part.at,
            mass=0.0,
            contype=0,
            conaffinity=0,
            rgba=[*(part.rgb or thing.rgb), 1],
        )


def _add_container(spec: mujoco.MjSpec, container: Container) -> None:
    """Add a container: a floor and walls, as fast as the table that it stands on."""
    mujoco = import_mujoco()
    geom = mujoco.mjtGeom
    body = spec.worldbody.add_body(name="container", pos=[*container.position, 0.0])
    half, height = container.half_m, container.height_m
    look = {
        "rgba": [*container.rgb, 1],
        "contype": 2,
        "conaffinity": 1,
        "friction": [0.3, 0.005, 0.0005],
    }
    if container.form == "bowl":
        body.add_geom(
            type=geom.mjGEOM_CYLINDER, size=[half, _FLOOR_M, 0], pos=[0, 0, _FLOOR_M], **look
        )
        apothem = half - WALL_M
        width = half * math.tan(math.pi / _BOWL_SIDES)
        angles = [2 * math.pi * i / _BOWL_SIDES for i in range(_BOWL_SIDES)]
    else:
        floor = [half, half, _FLOOR_M]
        body.add_geom(type=geom.mjGEOM_BOX, size=floor, pos=[0, 0, _FLOOR_M], **look)
        apothem, width = half - WALL_M, half
        angles = [math.pi / 2 * i for i in range(4)]
    for angle in angles:
        body.add_geom(
            type=geom.mjGEOM_BOX,
            size=[WALL_M, width, height / 2],
            pos=[apothem * math.cos(angle), apothem * math.sin(angle), height / 2],
            quat=[math.cos(angle / 2), 0, 0, math.sin(angle / 2)],
            **look,
        )
