"""Films of one camera: a frame per control step, every second one a key frame."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import MissingDependency
from dvla.training.lerobot.schema import FPS

_OPTIONS = {"crf": "23", "g": "2", "bf": "0", "preset": "veryfast", "threads": "1"}
TICKS = 512
"""Of a film's clock, between two frames: 12800 per second, which MP4 keeps as it is."""
_BASE = Fraction(1, FPS * TICKS)


def import_av() -> Any:
    """Return PyAV.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependency(
            "LeRobot datasets hold films, which need PyAV",
            got=str(error),
            next_command="pip install 'dvla[train]'",
        ) from error
    return av


class FilmWriter:
    """Encodes frames of one camera.

    Args:
        path: the MP4 file.
    """

    def __init__(self, path: Path) -> None:
        self._av = import_av()
        self._container = self._av.open(str(path), "w", format="mp4")
        self._stream: Any = None
        self._frames = 0

    def add(self, image_hwc: NDArray[np.uint8]) -> None:
        """Add a frame (h, w, 3)."""
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=FPS, options=_OPTIONS)
            self._stream.height, self._stream.width = image_hwc.shape[:2]
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = _BASE
        frame = self._av.VideoFrame.from_ndarray(image_hwc, format="rgb24")
        frame.pts, frame.time_base = self._frames * TICKS, _BASE
        self._frames += 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()


def join_films(parts: Sequence[Path], path: Path) -> None:
    """Put films of the same encoder one behind the other; nothing is encoded again."""
    av = import_av()
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as target:
        stream: Any = None
        frames = 0
        for part in parts:
            with av.open(str(part)) as source:
                video = source.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                tick = round(Fraction(1, FPS) / video.time_base)
                count = 0
                for packet in source.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts += frames * tick
                    packet.dts += frames * tick
                    packet.stream = stream
                    target.mux(packet)
                    count += 1
                frames += count


def frames_of(path: Path, first: int, count: int) -> list[NDArray[np.uint8]]:
    """Return some frames (h, w, 3) of a film, in order: fewer where it ends before."""
    av = import_av()
    found: list[NDArray[np.uint8]] = []
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        start = video.start_time or 0
        container.seek(start + round(Fraction(first, FPS) / video.time_base), stream=video)
        for frame in container.decode(video):
            number = round((frame.pts - start) * video.time_base * FPS)
            if number >= first and len(found) < count:
                found.append(frame.to_ndarray(format="rgb24"))
            if len(found) == count:
                break
    return found
