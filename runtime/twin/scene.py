"""The scene around the arm: table, object, light, cameras, and what ends an episode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.twin.bodies import FRANKA_BODY, TwinBody
from dvla.runtime.twin.dependencies import import_mujoco
from dvla.runtime.twin.objects import DECELERATION, MASS_KG, RGB, EpisodeSpec
from dvla.runtime.twin.scenes.forms import Base, Colour3
from dvla.runtime.twin.scenes.spec import Look, Texture, Thing

if TYPE_CHECKING:
    import mujoco

CAMERAS = ("opst_cam", "wrist_cam")
IMAGE_HEIGHT, IMAGE_WIDTH = 360, 480
PHYSICS_STEP_S = 0.002
OBJECT_JOINT = "object"
OBJECT_GEOM = "object"

TABLE_X = (-0.25, 0.90)
TABLE_HALF_Y = 0.65
_GRAVITY = 9.81
INERTIA_RATIO: dict[Base, float] = {"ball": 0.4, "can": 0.5}
"""Moment of inertia over m r2 of what rolls; anything else slides."""


def build_model(arm_model: Path | None = None, body: TwinBody = FRANKA_BODY) -> mujoco.MjModel:
    """Compile arm, table, object, lights and cameras into one model.

    The object's shape, size, colour and friction are placeholders until ``dress_object``.

    Args:
        arm_model: an MJCF file that replaces the arm's look.
        body: of the arm.

    Raises:
        ConfigError: when the file cannot be used.
    """
    spec = room_spec(body, arm_model, Look())
    _add_object(spec)
    return spec.compile()


def room_spec(body: TwinBody, arm_model: Path | None, look: Look) -> mujoco.MjSpec:
    """Put an arm into a room with table, light and cameras.

    Args:
        body: of the arm.
        arm_model: an MJCF file that replaces the arm's look.
        look: of the surroundings.
    """
    mujoco, spec = import_mujoco(), body.spec(arm_model)
    spec.modelname = "dvla twin"
    spec.option.timestep = PHYSICS_STEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    spec.visual.global_.offwidth, spec.visual.global_.offheight = IMAGE_WIDTH, IMAGE_HEIGHT
    spec.visual.quality.offsamples = 0
    spec.visual.quality.shadowsize = 0
    spec.visual.headlight.ambient = [look.ambient] * 3
    spec.visual.headlight.diffuse = [0.30, 0.30, 0.30]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.visual.map.znear = 0.01
    _add_room(spec, look, body)
    return spec


def _add_room(spec: mujoco.MjSpec, look: Look, body: TwinBody) -> None:
    """Add table, floor, sky, goal marker, light and the opposite camera."""
    mujoco = import_mujoco()
    geom, world = mujoco.mjtGeom, spec.worldbody
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.80, 0.87, 0.93],
        rgb2=[0.55, 0.64, 0.74],
        width=64,
        height=384,
    )
    middle_x, half_x = sum(TABLE_X) / 2, (TABLE_X[1] - TABLE_X[0]) / 2
    world.add_geom(
        name="table",
        type=geom.mjGEOM_BOX,
        pos=[middle_x, 0, -0.02],
        size=[half_x, TABLE_HALF_Y, 0.02],
        rgba=[*look.table_rgb, 1],
        material=add_material(spec, "table", look.table_texture, look.table_rgb),
        friction=[0.0, 0.0, 0.0],
        contype=2,
        conaffinity=1,
    )
    world.add_geom(
        type=geom.mjGEOM_PLANE,
        pos=[0, 0, -0.75],
        size=[6, 6, 1],
        rgba=[*look.floor_rgb, 1],
        contype=0,
        conaffinity=0,
    )
    world.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[0.6, 0.4, 2.0],
        dir=look.light_from,
        diffuse=look.light,
        specular=[0.15, 0.15, 0.15],
        castshadow=False,
    )
    eye, target = (
        tuple(a + b for a, b in zip(plain, offset, strict=True))
        for plain, offset in zip(
            (body.camera_at, body.camera_looks_at), look.camera_offset, strict=True
        )
    )
    world.add_camera(
        name="opst_cam",
        pos=eye,
        quat=_look_at(eye, target),
        fovy=62.0,
    )


def add_material(spec: mujoco.MjSpec, name: str, texture: Texture, rgb: Colour3) -> str:
    """Add a patterned material and return its name; empty for a plain surface.

    A pattern of 32 pixels costs a software renderer next to nothing.
    """
    if texture == "plain":
        return ""
    mujoco = import_mujoco()
    builtin = {
        "checker": mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        "gradient": mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
    }[texture]
    spec.add_texture(
        name=name,
        type=mujoco.mjtTexture.mjTEXTURE_CUBE,
        builtin=builtin,
        rgb1=[1.0, 1.0, 1.0],
        rgb2=[0.62, 0.62, 0.62],
        width=32,
        height=32,
    )
    material = spec.add_material(name=name, rgba=[*rgb, 1])
    textures = [""] * int(mujoco.mjtTextureRole.mjNTEXROLE)
    textures[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = name
    material.textures = textures
    return name


def _add_object(spec: mujoco.MjSpec) -> None:
    """Add the one object, a body with a free joint; ``dress_object`` gives it its shape."""
    mujoco = import_mujoco()
    body = spec.worldbody.add_body(name=OBJECT_GEOM, pos=[0.5, 0.0, 0.5])
    body.add_freejoint(name=OBJECT_JOINT)
    body.add_geom(
        name=OBJECT_GEOM,
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=[0.025, 0.025, 0.025],
        mass=MASS_KG,
        condim=6,
        contype=1,
        conaffinity=2,
    )


def dress_object(model: mujoco.MjModel, spec: EpisodeSpec) -> None:
    """Give the object the shape, size, colour and material of an episode, in place.

    Primitive shapes need no new model: physics goes on and a renderer keeps its context.
    """
    mujoco = import_mujoco()
    shape = {
        "ball": mujoco.mjtGeom.mjGEOM_SPHERE,
        "can": mujoco.mjtGeom.mjGEOM_CYLINDER,
        "box": mujoco.mjtGeom.mjGEOM_BOX,
    }[spec.kind]
    r, half = spec.radius_m, spec.half_length_m
    size = {"ball": (r, 0.0, 0.0), "can": (r, half, 0.0), "box": (r, r, r)}[spec.kind]
    extent = {"ball": (r, r, r), "can": (r, r, half), "box": (r, r, r)}[spec.kind]
    geom, body = model.geom(OBJECT_GEOM), model.body(OBJECT_GEOM)
    model.geom_type[geom.id] = int(shape)
    model.geom_size[geom.id] = size
    model.geom_rgba[geom.id] = (*RGB[spec.colour], 1.0)
    model.geom_rbound[geom.id] = r if spec.kind == "ball" else math.hypot(*extent)
    model.geom_aabb[geom.id] = (0.0, 0.0, 0.0, *extent)
    model.geom_friction[geom.id] = friction_of(spec.kind, DECELERATION[spec.kind], spec.radius_m)
    model.body_inertia[body.id] = _inertia(spec)
    # It computes in the reference pose, so not in anybody's data.
    mujoco.mj_setConst(model, mujoco.MjData(model))


def friction_of(kind: Base, deceleration: float, radius_m: float) -> Colour3:
    """Return an object's friction against the table: sliding [-], spinning, rolling [m].

    Rolling friction takes ``mu_roll g / r`` off a rolling body's spin; with its inertia that is
    the deceleration which the episode promises.
    """
    if kind not in INERTIA_RATIO:
        return deceleration / _GRAVITY, 0.001, 0.0001
    rolling = deceleration * (1 + INERTIA_RATIO[kind]) * radius_m / _GRAVITY
    return 0.5, 0.001, rolling


def _inertia(spec: EpisodeSpec) -> tuple[float, float, float]:
    """Return the principal inertia of the object [kg m2]."""
    m, r, length = MASS_KG, spec.radius_m, 2 * spec.half_length_m
    if spec.kind == "ball":
        return (0.4 * m * r**2,) * 3
    if spec.kind == "box":
        return (m * (2 * r) ** 2 / 6,) * 3
    across = m * (3 * r**2 + length**2) / 12
    return across, across, 0.5 * m * r**2


def object_start(spec: EpisodeSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where and how the object of an episode starts.

    A can lies across its heading and rolls; a ball rolls; a box slides with a face ahead.

    Returns:
        qpos (7,) position [m] and quaternion, qvel (6,) [m/s, rad/s in the body frame].
    """
    return rolling_start(spec.kind, spec, spec.radius_m)


def rolling_start(
    kind: Base, course: EpisodeSpec | Thing, rest_z_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where and how an object starts: qpos (7,), qvel (6,) as ``object_start`` does.

    Args:
        kind: of its primitive.
        course: where it goes.
        rest_z_m: height of its centre.
    """
    vx, vy = course.velocity
    heading = np.array([math.cos(course.heading_rad), math.sin(course.heading_rad), 0.0])
    across = np.array([-heading[1], heading[0], 0.0])
    # Columns: body x, y, z in the world. Bodies roll about ``across``; a can's axis is its z.
    up = np.array([0.0, 0.0, 1.0])
    axes = [heading, -up, across] if kind == "can" else [heading, across, up]
    rotation = np.stack(axes, axis=1)
    quaternion = np.empty(4)
    import_mujoco().mju_mat2Quat(quaternion, rotation.ravel())
    spin = course.speed / course.radius_m if kind in INERTIA_RATIO else 0.0
    qpos = np.array([*course.position, rest_z_m, *quaternion])
    # ``across`` in the body's own frame is the column that it is.
    about = (0.0, 0.0, spin) if kind == "can" else (0.0, spin, 0.0)
    qvel = np.array([vx, vy, 0.0, *about])
    return qpos, qvel


def _look_at(eye: Sequence[float], target: Sequence[float]) -> NDArray[np.float64]:
    """Return the quaternion of a camera that looks from ``eye`` at ``target``, z up."""
    back = np.subtract(eye, target)
    back /= np.linalg.norm(back)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    quaternion = np.empty(4)
    rotation = np.stack([right, np.cross(back, right), back], axis=1)
    import_mujoco().mju_mat2Quat(quaternion, rotation.ravel())
    return quaternion
