"""JSON schemas of the messages in a run's MCAP files, so that other tools can read them."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from dvla.runtime.events import AnyEvent
from dvla.runtime.messages import ArmState
from dvla.runtime.telemetry import SERVO_TICK

EVENT, ARM_STATE, TICK = "dvla.Event", "dvla.ArmState", "dvla.ServoTick"
IMAGE = "foxglove.CompressedImage"


def schema_of(name: str) -> bytes:
    """Return the JSON schema of one of the kinds of messages."""
    made: dict[str, Any] = {
        EVENT: lambda: msgspec.json.schema(AnyEvent),
        ARM_STATE: lambda: msgspec.json.schema(ArmState),
        TICK: lambda: _rows(SERVO_TICK),
        IMAGE: _image,
    }
    return msgspec.json.encode({"title": name, **made[name]()})


def _image() -> dict[str, Any]:
    """Return the well-known schema of a compressed picture."""
    time = {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}
    return {
        "type": "object",
        "properties": {
            "timestamp": {"type": "object", "title": "time", "properties": time},
            "frame_id": {"type": "string"},
            "format": {"type": "string"},
            "data": {"type": "string", "contentEncoding": "base64"},
        },
    }


def _rows(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the schema of rows of a dtype."""
    properties: dict[str, Any] = {}
    for name, (field, *_) in (dtype.fields or {}).items():
        value: dict[str, Any] = {"type": "integer" if field.base.kind in "iub" else "number"}
        for _ in field.shape:
            value = {"type": "array", "items": value}
        properties[name] = value
    return {"type": "object", "properties": properties}
