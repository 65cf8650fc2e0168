"""The video: browsers can play it, and nothing depends on it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic_run import CAMERAS, START_NS, add_frames

from dvla.runtime.events import Event, Note
from dvla.runtime.recorder import Recorder
from dvla.runtime.run_folder import RunFolder
from dvla.runtime.video import VideoUnavailable, VideoWriter


def test_the_film_suits_browsers(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    recorder = Recorder(RunFolder(tmp_path), cameras=CAMERAS)
    for index in range(100):
        add_frames(recorder, index)
    recorder.close()
    assert not recorder.failed
    content = (tmp_path / "video.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "the index is not in front"
    with av.open(str(tmp_path / "video.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (960, 360)
        times_s = [float(frame.time) for frame in film.decode(video=0)]
    assert len(times_s) == 50 and times_s[-1] == pytest.approx(3.92, abs=0.05)


def test_odd_sizes_and_an_absent_camera_are_no_trouble(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    video = VideoWriter(tmp_path / "video.mp4", CAMERAS)
    for index in range(60):
        image = np.full((35, 47, 3), 99, np.uint8)
        video.add("opst_cam", START_NS + index * 40_000_000, image)
    video.close()
    with av.open(str(tmp_path / "video.mp4")) as film:
        frames = list(film.decode(video=0))
    assert (frames[0].width, frames[0].height) == (96, 36) and len(frames) > 10


def test_a_film_has_a_length_at_most(tmp_path: Path) -> None:
    pytest.importorskip("av")
    video = VideoWriter(tmp_path / "video.mp4", ["opst_cam"], max_s=1.0)
    image = np.zeros((36, 48, 3), np.uint8)
    with pytest.raises(VideoUnavailable, match="reached 1 s"):
        for index in range(100):
            video.add("opst_cam", START_NS + index * 80_000_000, image)
    assert (tmp_path / "video.mp4").stat().st_size > 500


def test_without_pyav_there_is_one_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    heard: list[Event] = []

    class Sink:
        def emit(self, event: Event) -> None:
            heard.append(event)

    recorder = Recorder(RunFolder(tmp_path), cameras=CAMERAS, sink=Sink())
    for index in range(5):
        add_frames(recorder, index)
    recorder.close()
    assert not recorder.failed and not (tmp_path / "video.mp4").exists()
    (note,) = heard
    assert isinstance(note, Note) and "dvla[viz]" in note.text
