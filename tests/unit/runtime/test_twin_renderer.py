"""The twin's cameras: the object is seen where it is; a missing renderer says what to install."""

import os
import subprocess
import sys

import numpy as np
import pytest

from dvla.engines.errors import MissingDependency
from dvla.runtime.twin.objects import RGB, Task, draw_episode
from dvla.runtime.twin.renderer import TwinRenderer
from dvla.runtime.twin.scene import CAMERAS, IMAGE_HEIGHT, IMAGE_WIDTH
from dvla.runtime.twin.world import TwinWorld, WorldConfig

mujoco = pytest.importorskip("mujoco")


@pytest.fixture(scope="module")
def renderer():
    try:
        made = TwinRenderer()
    except MissingDependency as error:
        pytest.skip(str(error))
    yield made
    made.close()


def project(world, camera, point):
    """Pinhole projection of a world point: (column, row) [px]."""
    at = world.data.camera(camera)
    x, y, z = at.xmat.reshape(3, 3).T @ (point - at.xpos)
    focal = IMAGE_HEIGHT / 2 / np.tan(np.deg2rad(world.model.camera(camera).fovy[0]) / 2)
    return IMAGE_WIDTH / 2 + focal * x / -z, IMAGE_HEIGHT / 2 - focal * y / -z


def blob(image_hwc, rgb):
    """Centre (column, row) and size of the pixels of a hue [px]."""
    pixels = image_hwc.astype(float)
    direction = np.array(rgb) / np.linalg.norm(rgb)
    length = np.linalg.norm(pixels, axis=-1)
    alike = (pixels @ direction > 0.97 * length) & (length > 60)
    rows, columns = np.nonzero(alike)
    return columns.mean(), rows.mean(), len(rows)


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("kind", ["ball", "can", "box"])
def test_the_object_is_seen_where_it_is(renderer, camera, kind):
    task = Task(kind=kind, colour="red")
    world = TwinWorld(WorldConfig(task=task))
    seed = next(s for s in range(200) if abs(draw_episode(s, task).position[1]) < 0.2)
    world.reset(seed, 0)
    position = np.array([0.47, 0.03, world.spec.radius_m])
    joint = world.model.joint("object")
    world.data.qpos[joint.qposadr[0] : joint.qposadr[0] + 3] = position
    mujoco.mj_forward(world.model, world.data)
    image_hwc = np.zeros((IMAGE_HEIGHT, IMAGE_WIDTH, 3), np.uint8)
    renderer.render(world.snapshot(), camera, image_hwc)
    column, row, pixels = blob(image_hwc, RGB["red"])
    wanted = project(world, camera, position)
    assert pixels > 100
    assert (column, row) == pytest.approx(wanted, abs=8.0)
    spot = renderer.spot(world.snapshot(), camera) * (IMAGE_WIDTH, IMAGE_HEIGHT)
    assert spot == pytest.approx(wanted, abs=1e-6)


def test_what_is_out_of_the_picture_has_no_spot(renderer):
    world = TwinWorld()
    world.reset(1, 0)
    joint = world.model.joint("object")
    for position in ((0.5, 3.0, 0.02), (5.0, 0.0, 0.02)):  # beside the view, behind the camera
        world.data.qpos[joint.qposadr[0] : joint.qposadr[0] + 3] = position
        assert np.isnan(renderer.spot(world.snapshot(), "opst_cam")).all()


def test_pictures_of_one_state_are_the_same_and_of_another_are_not(renderer):
    world = TwinWorld()
    world.reset(1, 0)
    shape = (IMAGE_HEIGHT, IMAGE_WIDTH, 3)
    first, again, later = (np.zeros(shape, np.uint8) for _ in range(3))
    renderer.render(world.snapshot(), "opst_cam", first)
    renderer.render(world.snapshot(), "opst_cam", again)
    for _ in range(10):
        world.advance(world.t_ns + 50_000_000)
    renderer.render(world.snapshot(), "opst_cam", later)
    np.testing.assert_array_equal(first, again)
    assert (first != later).any()
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 50


def test_renderers_of_one_thread_do_not_disturb_each_other(renderer):
    world = TwinWorld()
    world.reset(1, 0)
    alone, beside, after = (np.zeros((IMAGE_HEIGHT, IMAGE_WIDTH, 3), np.uint8) for _ in range(3))
    renderer.render(world.snapshot(), "opst_cam", alone)
    other = TwinRenderer(width=64, height=48)
    other.render(world.snapshot(), "wrist_cam", np.zeros((48, 64, 3), np.uint8))
    renderer.render(world.snapshot(), "opst_cam", beside)
    other.close()
    renderer.render(world.snapshot(), "opst_cam", after)
    np.testing.assert_array_equal(alone, beside)
    np.testing.assert_array_equal(alone, after)


@pytest.mark.parametrize("platform", ["egl", "glfw"])
def test_without_a_renderer_the_error_names_the_packages(platform):
    code = (
        "import sys\n"
        "from dvla.engines.cli_errors import run_main\n"
        "from dvla.runtime.twin.renderer import TwinRenderer\n"
        "def body():\n    TwinRenderer()\n"
        "sys.exit(run_main(body))\n"
    )
    # A device that no machine has breaks EGL; GLFW draws on screens alone.
    environment = {**os.environ, "MUJOCO_GL": platform, "MUJOCO_EGL_DEVICE_ID": "99"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    for word in ("No off-screen OpenGL", "libegl1", "libegl-mesa0", "libosmesa6", platform):
        assert word in done.stderr
    assert "Traceback" not in done.stderr
