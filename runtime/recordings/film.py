"""Single frames of a film, found by their times."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import MissingDependency, UsageError


def frames_at(path: Path, times_s: Sequence[float], tolerance_s: float) -> NDArray[np.uint8]:
    """Return the frames of a film that are shown at some times.

    Args:
        path: of the film.
        times_s: seconds from the film's start, in any order.
        tolerance_s: how far a frame's own time may lie from the one that was asked for.

    Returns:
        (times, h, w, 3) uint8 RGB.

    Raises:
        UsageError: the film cannot be read, or has no frame at one of the times.
        MissingDependency: PyAV is not installed.
    """
    try:
        av = import_module("av")
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "Reading films needs PyAV", got=str(error), next_command="pip install 'dvla[viz]'"
        ) from error
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            start_s = float((stream.start_time or 0) * stream.time_base)
            found = []
            for time_s in times_s:
                wanted_s = start_s + time_s
                ticks = int(max(0.0, wanted_s - tolerance_s) / stream.time_base)
                container.seek(ticks, stream=stream)
                nearest, nearest_s = None, float("inf")
                for frame in container.decode(stream):
                    distance_s = abs(float(frame.pts * stream.time_base) - wanted_s)
                    if distance_s >= nearest_s:
                        break
                    nearest, nearest_s = frame, distance_s
                if nearest is None or nearest_s > tolerance_s:
                    raise UsageError(
                        f"{path} has no frame at {time_s:.3f} s",
                        got="its end" if nearest is None else f"the nearest {nearest_s:.3f} s away",
                        expected="a film as long as its episode",
                    )
                found.append(nearest.to_ndarray(format="rgb24"))
    except (av.FFmpegError, OSError, IndexError) as error:
        raise UsageError(
            f"The film {path} cannot be read",
            got=str(error) or type(error).__name__,
            expected="a film that PyAV decodes",
            next_command="record the episode again, or leave it out",
        ) from error
    return np.stack(found)
