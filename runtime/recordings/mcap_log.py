"""A run as MCAP: events, commands, arm states and every picture, in files of a bounded size.

The run folder's own files stay what replays and reports read; the MCAP files are the same run for
other tools, and the one place of the pictures at their full rate with their capture times. All
messages are JSON; pictures are ``foxglove.CompressedImage``. Times are the host's monotonic clock.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.events import Event
from dvla.runtime.messages import ArmState
from dvla.runtime.recordings.jpeg import JpegEncoder
from dvla.runtime.recordings.mcap_schemas import ARM_STATE, EVENT, IMAGE, TICK, schema_of

CHUNK_BYTES = 1 << 20
"""What is held in memory before it is written, and what a kill can cost."""
ABOUT = "dvla.run"


class McapUnavailable(Exception):
    """The MCAP library, or what it needs, is not installed."""


class McapLog:
    """Write messages into ``recording-000.mcap``, ``-001`` ... of at most ``max_bytes`` each.

    Args:
        folder: of the run.
        max_bytes: size at which the next file is begun.
        about: the run in words; each file begins with it.

    Raises:
        McapUnavailable: mcap or PyAV is not installed.
        OSError: the folder cannot be written to.
    """

    def __init__(
        self, folder: Path, max_bytes: int, about: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        try:
            self._mcap: Any = import_module("mcap.writer")
            self._jpeg = JpegEncoder()
        except ModuleNotFoundError as error:
            raise McapUnavailable(f"{error}; pip install 'dvla[recordings]' adds it.") from error
        self._folder, self._max_bytes, self._about = folder, max_bytes, about
        self._count, self._written = 0, 0
        self._file: IO[bytes] | None = None
        self._writer: Any = None
        self._encoder = msgspec.json.Encoder()
        self._open()

    def event(self, event: Event) -> None:
        """Write an event."""
        self._write("/events", EVENT, event.t_ns, self._encoder.encode(event))

    def arm_state(self, state: ArmState) -> None:
        """Write what the arm reports."""
        self._write("/arm", ARM_STATE, state.t_ns, self._encoder.encode(state))

    def commands(self, ticks: NDArray[Any]) -> None:
        """Write servo ticks: (n,) SERVO_TICK."""
        names = ticks.dtype.names or ()
        for row in ticks:
            told = {name: row[name].tolist() for name in names}
            self._write("/commands", TICK, int(row["t_ns"]), self._encoder.encode(told))

    def picture(self, camera: str, t_ns: int, image_hwc: NDArray[np.uint8]) -> None:
        """Write a picture (h, w, 3) uint8."""
        told = {
            "timestamp": {"sec": t_ns // 10**9, "nsec": t_ns % 10**9},
            "frame_id": camera,
            "format": "jpeg",
            "data": base64.b64encode(self._jpeg(image_hwc)).decode(),
        }
        self._write(f"/cameras/{camera}", IMAGE, t_ns, self._encoder.encode(told))

    def close(self) -> None:
        """Finish the file; twice is once."""
        file, self._file = self._file, None
        if file is not None:
            try:
                self._writer.finish()
            finally:
                file.close()

    def _open(self) -> None:
        path = self._folder / f"recording-{self._count:03d}.mcap"
        self._count += 1
        self._file = open(path, "xb")
        self._writer = self._mcap.Writer(
            self._file, chunk_size=CHUNK_BYTES, compression=self._mcap.CompressionType.NONE
        )
        self._writer.start(profile="", library="dvla")
        self._writer.add_metadata(ABOUT, dict(self._about))
        self._channels: dict[str, int] = {}
        self._written = 0

    def _write(self, topic: str, schema: str, t_ns: int, payload: bytes) -> None:
        if self._file is None:
            return
        if self._written + len(payload) > self._max_bytes and self._written:
            self.close()
            self._open()
        channel = self._channels.get(topic)
        if channel is None:
            told = self._writer.register_schema(schema, "jsonschema", schema_of(schema))
            channel = self._channels[topic] = self._writer.register_channel(topic, "json", told)
        self._writer.add_message(channel, log_time=t_ns, data=payload, publish_time=t_ns)
        self._written += len(payload) + 64
