"""How episodes of a scene end, judged by the state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dvla.runtime.twin.episodes import GOAL_M, SUCCESS_DISTANCE_M
from dvla.runtime.twin.scenes.choice import EPISODE_S, SceneChoice
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.scenes.judge import SceneJudge, half_box, placed
from dvla.runtime.twin.scenes.spec import SceneSpec

QUICK = SceneChoice(family="sequencing", task="long")


@dataclass
class Table:
    """A judge with its scene and the poses of the objects, to be moved about."""

    scene: SceneSpec

    def __post_init__(self) -> None:
        self.judge = SceneJudge(self.scene, 0)
        self.poses = [
            np.array([*thing.position, thing.rest_z_m, 1.0, 0.0, 0.0, 0.0])
            for thing in self.scene.things
        ]

    def put_in(self, index: int) -> None:
        assert self.scene.container is not None
        self.poses[index][:2] = self.scene.container.position
        half = half_box(self.scene.things[index], self.poses[index][3:])
        self.poses[index][2] = half[2] + 0.004

    def look(self, tcp: object = GOAL_M, t_s: float = 1.0) -> object:
        return self.judge.look(self.poses, np.array(tcp), round(t_s * 1e9))


def test_the_judge_of_scenes_knows_every_outcome() -> None:
    table = Table(draw_scene(7, QUICK))
    assert table.look() is None
    assert table.look(t_s=EPISODE_S["long"]) == "timeout"
    table.put_in(0)
    assert table.look() is None
    table.put_in(1)
    assert table.look(tcp=(0.5, 0.0, 0.3)) is None
    assert table.look() == "success"
    wrong = Table(draw_scene(7, QUICK))
    wrong.put_in(1)
    assert wrong.look() == "wrong_order"
    dropped = Table(draw_scene(7, QUICK))
    dropped.poses[0][2] += 0.1
    assert dropped.look(tcp=dropped.poses[0][:3]) is None
    dropped.poses[0][2] -= 0.1
    assert dropped.look() == "dropped"
    gone = Table(draw_scene(7, QUICK))
    gone.poses[1][1] = 0.7
    assert gone.look() == "out_of_reach"
    pick = Table(draw_scene(7, SceneChoice(family="reactivity")))
    pick.poses[0][:3] = GOAL_M
    assert pick.look() == "success"


def test_a_hand_that_passes_the_first_object_again_has_not_mixed_up_the_order() -> None:
    table = Table(draw_scene(7, QUICK))
    table.put_in(0)
    first, beside = table.poses[0], np.array([0.0, 0.12, 0.0])
    near = first[:3] + 0.5 * beside
    assert table.look(tcp=near) is None  # it is still being let go
    table.put_in(1)
    table.poses[1][:2] -= beside[:2] / 12
    assert np.linalg.norm(table.poses[1][:3] - near) > SUCCESS_DISTANCE_M
    assert table.look(tcp=near) is None
    assert table.look() == "success"


def test_a_first_object_that_the_second_one_knocks_came_first_all_the_same() -> None:
    table = Table(draw_scene(7, QUICK))
    table.put_in(0)
    assert table.look(tcp=(0.5, 0.0, 0.3)) is None
    table.put_in(1)
    table.poses[0][2] += 0.2
    assert table.look(tcp=(0.5, 0.0, 0.3)) is None
    table.poses[0][2] -= 0.2
    assert table.look() == "success"


def test_placed_means_that_the_box_is_in_the_containers() -> None:
    scene = draw_scene(7, QUICK)
    container, thing = scene.container, scene.things[0]
    assert container is not None
    half = half_box(thing, np.array([1.0, 0.0, 0.0, 0.0]))
    inside = np.array([*container.position, half[2] + 0.004, 1.0, 0.0, 0.0, 0.0])
    assert placed(thing, inside, container)
    aside, above = inside.copy(), inside.copy()
    aside[0] += container.half_m - half[0] + 0.001
    above[2] = container.height_m + half[2] + 0.001
    assert not placed(thing, aside, container) and not placed(thing, above, container)


@settings(max_examples=50, deadline=None)
@given(q=st.lists(st.floats(-1, 1), min_size=4, max_size=4), seed=st.integers(0, 50))
def test_an_objects_box_holds_every_point_of_it(q: list[float], seed: int) -> None:
    quaternion = np.array(q)
    if np.linalg.norm(quaternion) < 0.1:
        return
    quaternion /= np.linalg.norm(quaternion)
    thing = draw_scene(seed, SceneChoice(family="visual-shift")).things[0]
    half = half_box(thing, quaternion)
    r, h = thing.radius_m, thing.half_length_m
    rng = np.random.default_rng(seed)
    around = rng.uniform(-np.pi, np.pi, 64)
    disc = np.stack([r * np.cos(around), r * np.sin(around)], axis=1)
    if thing.kind == "ball":
        points = rng.normal(size=(64, 3))
        points *= r / np.linalg.norm(points, axis=1, keepdims=True)
    elif thing.kind in ("can", "cup"):
        points = np.column_stack([disc, rng.choice((-h, h), 64)])
    else:
        points = rng.choice((-1.0, 1.0), (64, 3)) * ((h if thing.kind == "brick" else r), r, r)
    w, v = quaternion[0], quaternion[1:]
    turned = points + 2 * np.cross(v, np.cross(v, points) + w * points)
    assert (np.abs(turned) <= half + 1e-9).all()
    assert (np.abs(turned).max(axis=0) > 0.8 * half).all()
