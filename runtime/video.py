"""A short video of the cameras side by side: H.264 in MP4, playable in any browser.

While it is written it consists of fragments, so that a killed run leaves a film that plays up to
its last second; ``close`` then rewrites it with the index in front. Its comment says when the first
picture was captured on the host's monotonic clock.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.clock import NS_PER_MS, NS_PER_S

FRAME_HZ = 12.5
MAX_VIDEO_S = 600.0
TIME_BASE = Fraction(1, 1000)
MAX_WAIT_NS = NS_PER_S  # for the first frames of the other cameras
ENCODER_OPTIONS = {"preset": "ultrafast", "tune": "zerolatency", "crf": "27"}
KEYFRAME_FRAMES = 12  # a fragment per second is what a kill can cost


BEGINS = "begins at {} ns"


class VideoUnavailable(Exception):
    """No video can be made, or no more of it."""


def begin_of(comment: str) -> int | None:
    """Return when a film begins, by its comment [ns]; None where that says nothing of it."""
    found = re.fullmatch(BEGINS.format(r"(\d+)"), comment)
    return int(found[1]) if found else None


class VideoWriter:
    """Encode the newest frames of some cameras, next to each other, at a modest rate.

    Args:
        path: the MP4 file; must not exist yet.
        cameras: names, left to right; the first one's frames set the pace.
        frame_hz: frames per second of the video.
        max_s: length at which it ends.

    Raises:
        VideoUnavailable: PyAV is not installed, or it cannot encode H.264.
    """

    def __init__(
        self,
        path: Path,
        cameras: Sequence[str],
        *,
        frame_hz: float = FRAME_HZ,
        max_s: float = MAX_VIDEO_S,
    ) -> None:
        try:
            import av
        except ImportError as error:
            raise VideoUnavailable(
                "PyAV is not installed; pip install 'dvla[viz]' adds it."
            ) from error
        if "libx264" not in av.codecs_available:
            raise VideoUnavailable("this PyAV cannot encode H.264.")
        self._av = av
        self._warm_up()
        self._path = path
        self._cameras = tuple(cameras)
        self._period_ns = round(NS_PER_S / frame_hz)
        self._max_ns = round(max_s * NS_PER_S)
        self._latest: dict[str, NDArray[np.uint8]] = {}
        self._container: Any = None
        self._stream: Any = None
        self._canvas: NDArray[np.uint8] = np.zeros((0, 0, 3), np.uint8)
        self._first_ns: int | None = None
        self._start_ns = 0
        self._next_ns = 0

    def add(self, camera: str, t_ns: int, image_hwc: NDArray[np.uint8]) -> None:
        """Take a frame (h, w, 3) uint8; encode one picture when its time has come.

        Raises:
            OSError: the disk refused.
            VideoUnavailable: the video has its full length, or the encoder failed.
        """
        if camera not in self._cameras:
            return
        if camera != self._cameras[0]:
            self._latest[camera] = image_hwc.copy()
            return
        if t_ns < self._next_ns:
            return
        self._latest[camera] = image_hwc
        self._first_ns = t_ns if self._first_ns is None else self._first_ns
        complete = len(self._latest) == len(self._cameras)
        if not complete and t_ns - self._first_ns < MAX_WAIT_NS:
            return
        try:
            self._encode(t_ns)
        except self._av.FFmpegError as error:
            self._release()
            if isinstance(error, OSError):
                raise
            raise VideoUnavailable(str(error)) from error
        if t_ns - self._start_ns >= self._max_ns:
            self.close()
            raise VideoUnavailable(f"it has reached {self._max_ns / NS_PER_S:.0f} s.")

    def close(self) -> None:
        """Finish the film and move its index to the front; without a frame there is no file."""
        container, self._container = self._container, None
        if container is None:
            return
        try:
            for packet in self._stream.encode():
                container.mux(packet)
            container.close()
            self._move_index_to_front()
        except self._av.FFmpegError as error:
            raise OSError(getattr(error, "errno", None), str(error)) from error

    def _warm_up(self) -> None:
        """Encode one small picture for nothing: the first one costs tens of milliseconds."""
        context = self._av.CodecContext.create("libx264", "w")
        context.width = context.height = 64
        context.pix_fmt, context.time_base = "yuv420p", TIME_BASE
        context.thread_count = 1
        context.options = ENCODER_OPTIONS
        black = np.zeros((64, 64, 3), np.uint8)
        context.encode(self._av.VideoFrame.from_ndarray(black, format="rgb24"))
        context.encode(None)

    def _encode(self, t_ns: int) -> None:
        if self._container is None:
            self._open(t_ns)
        # A grid of its own keeps the rate at frame_hz, whatever the cameras' rate is.
        self._next_ns = max(self._next_ns + self._period_ns, t_ns + self._period_ns // 2)
        self._compose()
        picture = self._av.VideoFrame.from_ndarray(self._canvas, format="rgb24")
        picture.pts = (t_ns - self._start_ns) // NS_PER_MS
        picture.time_base = TIME_BASE
        for packet in self._stream.encode(picture):
            self._container.mux(packet)

    def _open(self, t_ns: int) -> None:
        height, width = self._latest[self._cameras[0]].shape[:2]
        # Chroma is shared by 2 x 2 pixels, so both sides are even.
        size = (height + height % 2, (width + width % 2) * len(self._cameras))
        self._canvas = np.zeros((*size, 3), np.uint8)
        self._container = self._av.open(
            os.fspath(self._path),
            "w",
            format="mp4",
            options={
                "movflags": "frag_keyframe+empty_moov+default_base_moof",
                "flush_packets": "1",  # a finished fragment reaches the kernel at once
            },
        )
        self._container.metadata["comment"] = BEGINS.format(t_ns)
        stream = self._container.add_stream("libx264", rate=Fraction(1000, 80))
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = TIME_BASE
        stream.codec_context.time_base = TIME_BASE
        stream.codec_context.gop_size = KEYFRAME_FRAMES
        stream.codec_context.thread_count = 1  # the cores belong to the robot
        stream.options = ENCODER_OPTIONS
        self._stream = stream
        self._start_ns = self._next_ns = t_ns

    def _compose(self) -> None:
        cell = self._canvas.shape[1] // len(self._cameras)
        for column, camera in enumerate(self._cameras):
            image = self._latest.get(camera)
            if image is None:
                continue
            part = image[: self._canvas.shape[0], :cell]
            left = column * cell
            self._canvas[: part.shape[0], left : left + part.shape[1]] = part

    def _move_index_to_front(self) -> None:
        finished = self._path.with_name(f".{self._path.name}.finished")
        try:
            with (
                self._av.open(os.fspath(self._path)) as source,
                self._av.open(
                    os.fspath(finished), "w", format="mp4", options={"movflags": "faststart"}
                ) as target,
            ):
                target.metadata["comment"] = source.metadata.get("comment", "")
                stream = target.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(source.streams.video[0]):
                    if packet.dts is not None:
                        packet.stream = stream
                        target.mux(packet)
            os.replace(finished, self._path)
        finally:
            finished.unlink(missing_ok=True)

    def _release(self) -> None:
        """Let go of a container that failed; what it wrote stays."""
        container, self._container = self._container, None
        try:
            if container is not None:
                container.close()
        except self._av.FFmpegError:
            pass
