"""The camera watch: frozen, dark and swapped cameras as they really look."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dvla.runtime.cameras.frame_ring import FrameRing, FrameShape
from dvla.runtime.png import write_png
from dvla.runtime.preflight.camera_checks import check_cameras
from dvla.runtime.preflight.camera_watch import (
    CameraWatch,
    Views,
    accept_cameras,
    likeness,
    read_references,
    thumbnail,
)
from dvla.runtime.preflight.finding import Finding
from dvla.runtime.run_folder import RunFolderError

OPST, WRIST = "observation.images.opst_cam", "observation.images.wrist_cam"
SHAPE = FrameShape(height=90, width=120)
Image = NDArray[np.uint8]


def scene(seed: int, noise: int = 0, object_at: int = 10) -> Image:
    """Return a view: areas of its own, an object somewhere, sensor noise."""
    areas = np.random.default_rng(seed).integers(20, 230, (6, 8, 3))
    image = areas.repeat(15, 0).repeat(15, 1)
    image[30:50, object_at : object_at + 20] = (200, 30, 30)
    grain = np.random.default_rng(1000 + noise).integers(-4, 5, image.shape)
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def watch(pictures: dict[str, list[Image]], references: Views | None = None) -> CameraWatch:
    rings = {name: FrameRing.create(SHAPE) for name in pictures}
    wanted = dict.fromkeys(pictures, (SHAPE.height, SHAPE.width))
    watched = CameraWatch(rings, wanted, references or {})
    for turn in range(max(map(len, pictures.values()))):
        for name, images in pictures.items():
            if turn < len(images):
                rings[name].publish(images[turn], (1 + turn) * 40_000_000)
        watched.look((1 + turn) * 1_000_000_000)
    return watched


def live(seed: int) -> list[Image]:
    return [scene(seed, noise, 10 + noise) for noise in range(8)]


def found(watched: CameraWatch) -> dict[str, Finding]:
    return {finding.check: finding for finding in check_cameras(watched.evidence())}


REFERENCES: Views = {OPST: thumbnail(scene(1, 90)), WRIST: thumbnail(scene(2, 91))}


def test_live_cameras_in_their_roles() -> None:
    checks = found(watch({OPST: live(1), WRIST: live(2)}, REFERENCES))
    assert [finding.level for finding in checks.values()] == ["ok"] * 3, checks
    assert "25.0 frames/s" in checks["camera opst_cam"].got


def test_a_swap_is_told() -> None:
    roles = found(watch({OPST: live(2), WRIST: live(1)}, REFERENCES))["camera roles"]
    assert roles.level == "fail" and "the other way round" in roles.got


def test_a_frozen_a_black_and_a_silent_camera_are_told() -> None:
    black = [np.zeros((90, 120, 3), np.uint8)] * 8
    checks = found(watch({OPST: [scene(1)] * 8, WRIST: black}, REFERENCES))
    assert "the same picture" in checks["camera opst_cam"].got
    assert "black" in checks["camera wrist_cam"].got
    assert found(watch({OPST: live(1), WRIST: []}))["camera wrist_cam"].level == "fail"


def test_a_likeness_is_of_views_and_not_of_objects_or_light() -> None:
    same = likeness(thumbnail(scene(1, 3, 10)), thumbnail(scene(1, 4, 80)))
    darker = likeness(thumbnail(scene(1)), thumbnail((scene(1) * 0.6).astype(np.uint8)))
    other = likeness(thumbnail(scene(1)), thumbnail(scene(2)))
    assert same > 0.8 and darker > 0.99 and other < 0.5
    flat = thumbnail(np.full((90, 120, 3), 7, np.uint8))
    assert likeness(flat, thumbnail(scene(1))) == 0.0


@pytest.mark.parametrize("size", [(90, 120), (360, 480), (37, 61)])
def test_a_thumbnail_is_of_the_mean_colours(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), (10, 120, 240), np.uint8)
    assert thumbnail(image) == (10, 120, 240) * (18 * 24)


def test_references_are_what_a_person_has_confirmed(tmp_path: Path) -> None:
    run, arm = tmp_path / "run", tmp_path / "arm"
    run.mkdir()
    with pytest.raises(RunFolderError, match="no pictures"):
        accept_cameras(run, arm)
    watch({OPST: live(1), WRIST: live(2)}).save(run)
    assert read_references(arm) == {}
    assert accept_cameras(run, arm) == [OPST, WRIST]
    roles = found(watch({OPST: live(1), WRIST: live(2)}, read_references(arm)))["camera roles"]
    assert roles.level == "ok"
    assert (run / "opst_cam.png").stat().st_size > 1000


def test_a_png_holds_the_picture(tmp_path: Path) -> None:
    image = scene(3)
    write_png(tmp_path / "a.png", image)
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"IDAT") + 4
    rows = np.frombuffer(zlib.decompress(content[start:-16]), np.uint8).reshape(90, -1)
    assert np.array_equal(rows[:, 1:].reshape(image.shape), image)
