"""Scenes: drawn the same every time, described so that one object is meant."""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvla.runtime.errors import ConfigError
from dvla.runtime.twin.objects import draw_episode
from dvla.runtime.twin.scenes.choice import (
    DIMENSIONS,
    FAMILIES,
    TASK_KINDS,
    SceneChoice,
    choice_from_code,
    parse_dimensions,
)
from dvla.runtime.twin.scenes.draw import draw_scene
from dvla.runtime.twin.scenes.forms import (
    COLOURS,
    FORMS,
    MORE_COLOURS,
    MORE_FORMS,
    SEEN_COLOURS,
    UNSEEN_COLOURS,
    UNSEEN_FORMS,
)
from dvla.runtime.twin.scenes.language import (
    Expression,
    read_expression,
    referents,
    sentences,
)
from dvla.runtime.twin.scenes.spec import MAX_THINGS, SceneSpec

PLAIN_SCENES = "5b8fdc52633b835cee348ea38478049e05e6750ac25f5b028e9f4a8a13c786f7"
"""Of the plain pick scene's draws; records and trained policies depend on them."""
TRAINING_SCENES = "5dc0d4530956e375ce06b6eb22e16abfb3de93874726a47055d9d2f899d53b05"
"""Of training's scenes; recorded episodes have only their seeds."""
choices = st.builds(SceneChoice, family=st.sampled_from(FAMILIES), task=st.sampled_from(TASK_KINDS))
QUICK = SceneChoice(family="sequencing", task="long")


def expressions_of(scene: SceneSpec) -> list[Expression]:
    """Read the descriptions back out of an instruction, in its order."""
    words = scene.instruction.replace(",", "").split()
    found, at = [], 0
    while "the" in words[at:]:
        at = words.index("the", at) + 1
        rest = words[at:]
        end = next(i for i, word in enumerate(rest) if word in NOUNS)
        if rest[end] not in ("bowl", "crate", "tray", "table"):
            found.append(read_expression(" ".join(["the", *rest[: end + 1]])))
    return found


NOUNS = (*FORMS, "object", "bowl", "crate", "tray", "table")


def test_the_plain_pick_scene_is_what_records_and_training_have() -> None:
    pytest.importorskip("mujoco")
    from dvla.runtime.twin.scene import build_model, dress_object, object_start

    digest, model = hashlib.sha256(), build_model()
    for seed in (*range(20_000, 20_200), 100_000, 110_000):
        spec = draw_episode(seed)
        digest.update(msgspec.json.encode(spec))
        dress_object(model, spec)
        digest.update(np.concatenate(object_start(spec)).round(9).tobytes())
        geom, body = model.geom("object").id, model.body("object").id
        row = (
            [model.geom_type[geom]], model.geom_size[geom], model.geom_rgba[geom],
            model.geom_friction[geom], model.body_inertia[body], [model.body_mass[body]],
        )  # fmt: skip
        digest.update(np.concatenate(row).round(9).tobytes())
    assert digest.hexdigest() == PLAIN_SCENES


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), choice=choices)
def test_an_instruction_means_its_targets_alone(seed: int, choice: SceneChoice) -> None:
    scene = draw_scene(seed, choice)
    said = expressions_of(scene)
    assert len(said) == scene.targets == (2 if choice.task == "long" else 1)
    for index, expression in enumerate(said):
        if scene.delivered:
            break  # described before the first was put where it belongs
        assert referents(expression, scene.things) == [index], scene.instruction
    assert (scene.container is None) == (choice.task == "pick")
    if scene.container is not None:
        assert scene.container.name in scene.instruction


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), choice=choices)
def test_scenes_can_be_played(seed: int, choice: SceneChoice) -> None:
    scene = draw_scene(seed, choice)
    assert len(scene.things) <= MAX_THINGS
    for thing in scene.things:
        assert 0.0 <= thing.speed <= 0.75 and 2 * thing.radius_m < 0.078
        assert 0.25 < thing.position[0] < 0.70 and abs(thing.position[1]) <= 0.45
    for i, one in enumerate(scene.things):
        for other in scene.things[:i]:
            assert np.hypot(*np.subtract(one.position, other.position)) > one.reach_m


def test_a_seed_draws_the_same_scene_and_another_seed_another() -> None:
    scene = draw_scene(41, QUICK)
    draw_scene.cache_clear()
    assert msgspec.json.encode(draw_scene(41, QUICK)) == msgspec.json.encode(scene)
    assert draw_scene(42, QUICK) != scene
    assert msgspec.json.decode(msgspec.json.encode(scene), type=SceneSpec) == scene


def test_choices_survive_a_snapshot_and_their_names_are_checked() -> None:
    codes = set()
    for family in FAMILIES:
        for task in TASK_KINDS:
            choice = SceneChoice(family=family, task=task)
            codes.add(choice.code)
            assert choice_from_code(choice.code) == choice
    assert min(codes) == 1 and len(codes) == 39
    assert parse_dimensions("all") == DIMENSIONS
    assert parse_dimensions("motion, visual") == ("visual", "motion")
    for wrong in ("", "speed", "motion,motion"):
        with pytest.raises(ConfigError, match="reactivity, adaptation"):
            parse_dimensions(wrong)


def test_training_sees_half_of_its_targets_at_rest_and_nothing_that_is_held_out() -> None:
    scenes = [draw_scene(seed, SceneChoice(family="training")) for seed in range(300_000, 300_200)]
    resting = sum(scene.speed == 0.0 for scene in scenes)
    assert 75 <= resting <= 130
    for scene in scenes:
        for thing in scene.things:
            assert thing.colour in SEEN_COLOURS and thing.form not in UNSEEN_FORMS
    shifted = [draw_scene(s, SceneChoice(family="visual-shift")) for s in range(300_000, 300_020)]
    assert {t.colour for scene in shifted for t in scene.things} <= set(UNSEEN_COLOURS)


def test_scenes_that_were_recorded_are_drawn_as_they_were() -> None:
    digest = hashlib.sha256()
    for family in ("training", "training-one"):
        for task in TASK_KINDS:
            for seed in range(300_000, 300_020):
                scene = draw_scene(seed, SceneChoice(family=family, task=task))
                digest.update(msgspec.json.encode(scene))
    assert digest.hexdigest() == TRAINING_SCENES


def test_wide_training_draws_more_colours_and_forms_and_keeps_away_from_the_held_out() -> None:
    choice = SceneChoice(family="training-wide")
    things = [t for seed in range(300_000, 300_200) for t in draw_scene(seed, choice).things]
    assert {t.form for t in things} == set(FORMS) - set(UNSEEN_FORMS)
    assert {t.colour for t in things} == set(COLOURS) - set(UNSEEN_COLOURS)
    assert set(MORE_FORMS) < {t.form for t in things} and len(MORE_COLOURS) > len(SEEN_COLOURS)
    held_out = np.array([COLOURS[name] for name in UNSEEN_COLOURS])
    painted = np.array([t.rgb for t in things if t.colour in MORE_COLOURS])
    assert np.linalg.norm(painted[:, None] - held_out, axis=2).min() > 0.15


def test_training_to_catch_is_mostly_one_object_in_varied_surroundings() -> None:
    choice = SceneChoice(family="training-one")
    scenes = [draw_scene(seed, choice) for seed in range(300_000, 300_200)]
    assert {thing.form for scene in scenes for thing in scene.things} == {"ball", "can", "box"}
    alone = sum(len(scene.things) == 1 for scene in scenes)
    assert 120 <= alone < 200 and max(len(scene.things) for scene in scenes) == 2
    assert 5 <= sum(scene.speed == 0.0 for scene in scenes) <= 40
    assert max(scene.speed for scene in scenes) > 0.7
    assert len({scene.look for scene in scenes}) == len(scenes)


def test_sentences_hold_every_word_of_every_instruction_but_those_held_out() -> None:
    known = {word for text in sentences() for word in text.replace(",", "").split()}
    assert known & {*UNSEEN_COLOURS, *UNSEEN_FORMS} == {"brown", "white"}  # containers are, too
    known |= {*UNSEEN_COLOURS, *UNSEEN_FORMS}
    for family in ("training", "training-wide", "visual-shift", "spatial", "motion"):
        for task in TASK_KINDS:
            for seed in range(300_000, 300_010):
                scene = draw_scene(seed, SceneChoice(family=family, task=task))
                assert set(scene.instruction.replace(",", "").split()) <= known


def test_extremes_that_are_too_close_to_call_mean_nobody_alone() -> None:
    scene = draw_scene(5, SceneChoice(family="spatial"))
    thing = scene.things[0]
    at = msgspec.structs.replace
    near, far = at(thing, position=(0.40, 0.0)), at(thing, position=(0.43, 0.1))
    assert referents(Expression(place="nearest"), [near, far]) == [0, 1]
    assert referents(Expression(place="leftmost"), [near, far]) == [1]
    assert referents(Expression(colour="no such"), [near, far]) == []
    moving = at(thing, speed=0.3, heading_rad=1.57)
    resting = at(thing, speed=0.0)
    assert referents(Expression(motion="left-going"), [resting, moving]) == [1]
    assert referents(Expression(motion="fastest"), [moving, at(moving, speed=0.25)]) == [0, 1]
