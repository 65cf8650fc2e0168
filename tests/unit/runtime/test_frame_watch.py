"""The watch over pictures: each lie is noticed, and honest pictures are let alone."""

from __future__ import annotations

import numpy as np
import pytest

from dvla.runtime.cameras.watch import FrameWatch, Image

HERE = np.array([0.4, 0.0, 0.3])


def scene(seed: int, shift: int = 0) -> Image:
    """Return a picture (90, 120, 3) of a room, seen a little further along."""
    room = np.random.default_rng(seed).uniform(0.0, 255.0, (9, 30, 3))
    wide = np.repeat(np.repeat(room, 10, axis=0), 10, axis=1)
    return np.ascontiguousarray(wide[:, shift : shift + 120].astype(np.uint8))


def pictures(step: int) -> dict[str, Image]:
    return {"opst": scene(1, step), "wrist": scene(2, 3 * step)}


def at(step: int) -> np.ndarray:
    return HERE + np.array([0.02 * step, 0.0, 0.0])


def watched(steps: int = 4) -> FrameWatch:
    watch = FrameWatch()
    for step in range(steps):
        assert watch.look(pictures(step), at(step)) == ""
    return watch


def test_pictures_that_move_with_the_arm_are_fine() -> None:
    watched(20)


def test_an_arm_at_rest_sees_the_same_picture_and_that_is_fine() -> None:
    watch = watched()
    for _ in range(50):
        assert watch.look(pictures(3), at(3)) == ""


@pytest.mark.parametrize("name", ["opst", "wrist"])
def test_a_frozen_camera_is_named_and_forgiven_only_when_it_sees_again(name: str) -> None:
    watch = watched()
    frozen = pictures(3)[name]
    problem = watch.look({**pictures(4), name: frozen}, at(4))
    assert name in problem and "same picture" in problem
    # The arm has stopped: that makes the picture no better.
    assert watch.look({**pictures(4), name: frozen}, at(4)) == problem
    assert watch.look(pictures(5), at(5)) == ""


@pytest.mark.parametrize("level", [0, 3, 128, 255])
def test_a_picture_of_one_colour_shows_nothing(level: int) -> None:
    watch = watched()
    blank = np.full((90, 120, 3), level, np.uint8)
    assert "wrist" in watch.look({**pictures(4), "wrist": blank}, at(4))
    assert watch.look(pictures(4), at(4)) == ""


def test_cameras_that_change_places_are_noticed_until_they_change_back() -> None:
    watch = watched()
    for step in range(4, 8):
        seen = pictures(step)
        swapped = {"opst": seen["wrist"], "wrist": seen["opst"]}
        assert "changed places" in watch.look(swapped, at(step))
    assert watch.look(pictures(8), at(8)) == ""


def test_a_cut_of_both_scenes_is_no_swap() -> None:
    watch = watched()
    assert watch.look({"opst": scene(7), "wrist": scene(8)}, at(4)) == ""
