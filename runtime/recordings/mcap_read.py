"""Pictures of a run's MCAP files, with their capture times."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import MissingDependency, UsageError
from dvla.runtime.recordings.jpeg import decode_jpeg

TOPIC = "/cameras/"


class Picture(msgspec.Struct, frozen=True):
    """A message of ``foxglove.CompressedImage``, as far as it matters here."""

    data: str


def recordings_of(folder: Path) -> list[Path]:
    """Return the MCAP files of a run, oldest first."""
    return sorted(folder.glob("recording-*.mcap"))


def messages(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """Yield (topic, time [ns], payload) of a file; one that a kill cut off ends at the cut.

    Raises:
        MissingDependency: mcap is not installed.
    """
    try:
        stream: Any = import_module("mcap.stream_reader")
        errors: Any = import_module("mcap.exceptions")
        records: Any = import_module("mcap.records")
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "Reading MCAP files needs mcap",
            got=str(error),
            next_command="pip install 'dvla[recordings]'",
        ) from error
    topics: dict[int, str] = {}
    with path.open("rb") as file:
        try:
            for record in stream.StreamReader(file).records:
                if isinstance(record, records.Channel):
                    topics[record.id] = record.topic
                elif isinstance(record, records.Message):
                    yield topics[record.channel_id], record.log_time, record.data
        except (errors.McapError, EOFError):
            return


def pictures(folder: Path, camera: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (capture time [ns], image (h, w, 3) uint8) of one camera of a run, in order.

    Raises:
        UsageError: the run recorded no MCAP.
        MissingDependency: mcap is not installed.
    """
    files = recordings_of(folder)
    if not files:
        raise UsageError(
            f"The run {folder} kept no pictures with their times",
            got="no recording-*.mcap",
            expected="a run recorded with --mcap",
            next_command="dvla-run ... --mcap",
        )
    decode = msgspec.json.Decoder(Picture).decode
    for path in files:
        for topic, t_ns, payload in messages(path):
            if topic == TOPIC + camera:
                yield t_ns, decode_jpeg(base64.b64decode(decode(payload).data))


def cameras_of(folder: Path) -> list[str]:
    """Return the cameras whose pictures a run kept, by what its first file says."""
    found: set[str] = set()
    for path in recordings_of(folder)[:1]:
        found |= {topic[len(TOPIC) :] for topic, _, _ in messages(path) if topic.startswith(TOPIC)}
    return sorted(found)
