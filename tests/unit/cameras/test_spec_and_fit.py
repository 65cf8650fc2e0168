"""What ``--camera`` says, and how frames get the policy's size."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvla.runtime.cameras.errors import CameraError
from dvla.runtime.cameras.fit import FrameFit
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.cameras.spec import CameraSpec, parse_camera, parse_cameras, require_all

OPST, WRIST = "observation.images.opst_cam", "observation.images.wrist_cam"
FEATURES = (OPST, WRIST)


def test_a_camera_is_read_from_its_flag() -> None:
    spec = parse_camera("opst=v4l2:/dev/video0,width=640,height=480,fps=30,fit=crop-resize")
    assert (spec.role, spec.kind, spec.source) == ("opst", "v4l2", "/dev/video0")
    assert (spec.width, spec.height, spec.fps, spec.fit) == (640, 480, 30.0, "crop-resize")
    assert parse_camera("wrist=realsense:0123").source == "0123"


def test_a_latency_that_is_not_named_is_told_from_one_of_nothing() -> None:
    for options, known_s in (("", None), (",latency_s=0", 0.0), (",latency_s=0.03", 0.03)):
        spec = parse_camera(f"opst=v4l2:0{options}")
        assert (spec.known_latency_s, spec.latency_s) == (known_s, known_s or 0.0)
        sent = msgspec.json.encode(spec)  # as a process of the run gets it
        assert msgspec.json.decode(sent, type=CameraSpec) == spec


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("v4l2:/dev/video0", "not ROLE=KIND:SOURCE"),
        ("opst=webcam:0", "Valid: twin, v4l2"),
        ("opst=v4l2:0,zoom=2", "unknown option"),
        ("opst=v4l2:0,width=many", "width is out of bounds"),
        ("opst=v4l2:0,latency_s=2", "from 0 to 1"),
        ("opst=v4l2:0,latency_s=nan", "from 0 to 1"),
        ("opst=v4l2:0,fit=stretch", "Valid: exact, crop, crop-resize"),
    ],
)
def test_a_wrong_flag_is_told_in_one_paragraph(text: str, told: str) -> None:
    with pytest.raises(CameraError, match=told) as caught:
        parse_camera(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("role", ["opst", "opst_cam", OPST])
def test_a_role_names_a_feature(role: str) -> None:
    assert list(parse_cameras([f"{role}=v4l2:0"], FEATURES)) == [OPST]


def test_unknown_double_and_missing_roles_are_refused() -> None:
    with pytest.raises(CameraError, match="no camera of the role 'side'"):
        parse_cameras(["side=v4l2:0"], FEATURES)
    with pytest.raises(CameraError, match="twice"):
        parse_cameras(["opst=v4l2:0", "opst_cam=v4l2:1"], FEATURES)
    with pytest.raises(CameraError, match="wrist_cam, and no camera plays that role"):
        require_all(parse_cameras(["opst=v4l2:0"], FEATURES), FEATURES, "franka")


def shape(width: int, height: int) -> FrameShape:
    return FrameShape(height=height, width=width)


def test_the_same_size_is_handed_through() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    assert np.shares_memory(FrameFit(shape(64, 48), shape(64, 48), "exact", "c")(image), image)


def test_nothing_is_cut_or_scaled_unless_it_was_declared() -> None:
    with pytest.raises(CameraError, match="declare fit"):
        FrameFit(shape(128, 96), shape(64, 48), "exact", "c")
    with pytest.raises(CameraError, match="smaller"):
        FrameFit(shape(32, 96), shape(64, 48), "crop", "c")


def test_crop_takes_the_middle() -> None:
    image = np.zeros((6, 8, 3), np.uint8)
    image[2:4, 3:5] = 9
    assert (FrameFit(shape(8, 6), shape(2, 2), "crop", "c")(image) == 9).all()


def test_halving_is_the_mean_of_four() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    half = FrameFit(shape(12, 8), shape(6, 4), "crop-resize", "c")(image)
    mean = image.reshape(4, 2, 6, 2, 3).astype(np.float64).mean(axis=(1, 3))
    assert np.abs(half - mean).max() <= 0.5


@given(
    native=st.tuples(st.integers(4, 60), st.integers(4, 60)),
    wanted=st.tuples(st.integers(2, 60), st.integers(2, 60)),
    shade=st.integers(0, 255),
)
def test_a_plain_picture_stays_plain_and_gets_the_wanted_size(
    native: tuple[int, int], wanted: tuple[int, int], shade: int
) -> None:
    fit = FrameFit(shape(*native), shape(*wanted), "crop-resize", "c")
    image = np.full((native[1], native[0], 3), shade, np.uint8)
    out = fit(image)
    assert out.shape == (wanted[1], wanted[0], 3)
    assert (out == shade).all()


def test_a_camera_that_changes_its_size_is_told() -> None:
    fit = FrameFit(shape(8, 6), shape(2, 2), "crop", "c")
    with pytest.raises(CameraError, match="changed the size"):
        fit(np.zeros((6, 9, 3), np.uint8))
