"""A film read forwards, frame after frame, each with its time."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import MissingDependency, UsageError
from dvla.runtime.video import begin_of


class FilmReader:
    """Decodes a film, or a part of it, in order.

    Args:
        path: of the film.
        start_s: where to begin, from the film's start.
        length_s: until when, the last picture included; all of the rest when None.

    Attributes:
        begin_ns: when its first picture was captured, monotonic; None of films that do not say it.

    Raises:
        UsageError: the film cannot be read.
        MissingDependency: PyAV is not installed.
    """

    def __init__(self, path: Path, start_s: float = 0.0, length_s: float | None = None) -> None:
        try:
            self._av = import_module("av")
        except ModuleNotFoundError as error:
            raise MissingDependency(
                "Reading films needs PyAV", got=str(error), next_command="pip install 'dvla[viz]'"
            ) from error
        self._path, self._start_s, self._length_s = path, start_s, length_s
        try:
            self._container = self._av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (self._av.FFmpegError, OSError, IndexError) as error:
            raise self._unreadable(error) from error
        self._stream.thread_count = 1  # the cores belong to the robot
        self.width = int(self._stream.codec_context.width)
        self.height = int(self._stream.codec_context.height)
        self.fps = float(self._stream.average_rate or 0.0)
        self.begin_ns = begin_of(self._container.metadata.get("comment", ""))

    def frames(self) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """Yield (seconds from the part's beginning, image (h, w, 3) uint8 RGB), in order."""
        base = self._stream.time_base
        first_s = float((self._stream.start_time or 0) * base) + self._start_s
        half_s = 0.4 / self.fps if self.fps > 0 else 0.0
        end_s = float("inf") if self._length_s is None else first_s + self._length_s + half_s
        try:
            self._container.seek(int(max(0.0, first_s - half_s) / base), stream=self._stream)
            for frame in self._container.decode(self._stream):
                t_s = float(frame.pts * base)
                if t_s > end_s:
                    return
                if t_s >= first_s - half_s:
                    yield max(0.0, t_s - first_s), frame.to_ndarray(format="rgb24")
        except (self._av.FFmpegError, OSError) as error:
            raise self._unreadable(error) from error

    def close(self) -> None:
        """Close the film."""
        self._container.close()

    def _unreadable(self, error: Exception) -> UsageError:
        return UsageError(
            f"The film {self._path} cannot be read",
            got=str(error) or type(error).__name__,
            expected="a film that PyAV decodes",
            next_command="record the episode again, or leave it out",
        )
