"""What ``--camera`` says: which camera plays which role, and how its frames get the policy's size.

ROLE=KIND:SOURCE[,key=value...]
opst=v4l2:/dev/video0,width=640,height=480,fps=30,fit=crop-resize
wrist=realsense:0123456789
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import msgspec

from dvla.runtime.cameras.errors import CameraError

Kind = Literal["twin", "v4l2", "realsense", "orbbec", "video", "lerobot"]
Fit = Literal["exact", "crop", "crop-resize"]
EXAMPLE = "opst=v4l2:/dev/video0 or wrist=realsense:SERIAL,fit=crop-resize"


class CameraSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera of a run.

    Attributes:
        role: image feature of the policy, or its last part, with or without ``_cam``.
        kind: of the driver.
        source: device, serial number, file or dataset; the driver's first one when empty.
        width, height, fps: mode to ask the device for; 0 asks for the policy's own.
        fit: ``exact`` refuses frames of another size; ``crop`` cuts the middle out; ``crop-resize``
            cuts the middle to the policy's aspect and scales it.
        known_latency_s: from the light to the driver's time stamp, as a flag names it or
            ``dvla-calibrate latency`` found it; ``latency_s`` outside, None where it is unknown.
        feature: image column of a dataset; the role's own when empty.
    """

    role: str
    kind: Kind
    source: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    fit: Fit = "exact"
    known_latency_s: float | None = msgspec.field(default=None, name="latency_s")
    feature: str = ""

    @property
    def latency_s(self) -> float:
        """What is taken off every capture time [s]; nothing where the latency is unknown."""
        return self.known_latency_s or 0.0


BOUNDS: dict[str, tuple[float, float]] = {
    "width": (0, 8192),
    "height": (0, 8192),
    "fps": (0, 1000),
    "latency_s": (0, 1),
}
OPTIONS: dict[str, type] = {
    "width": int, "height": int, "fps": float, "fit": str, "latency_s": float, "feature": str,
}  # fmt: skip


def parse_camera(text: str) -> CameraSpec:
    """Return the camera that a ``--camera`` flag describes.

    Raises:
        CameraError: it is not of that form, or a value is none of its key's.
    """
    role, equals, rest = text.partition("=")
    what, *options = rest.split(",")
    kind, _, source = what.partition(":")
    if not equals or not role or kind not in get_args(Kind):
        raise CameraError(
            "--camera is not ROLE=KIND:SOURCE",
            got=repr(text),
            expected=EXAMPLE,
            choices=get_args(Kind),
        )
    values: dict[str, Any] = {"role": role, "kind": kind, "source": source}
    for option in options:
        key, _, value = option.partition("=")
        if key not in OPTIONS:
            raise CameraError(
                f"--camera {role} has an unknown option", got=repr(option), choices=sorted(OPTIONS)
            )
        values[key] = _value(role, key, value)
    return msgspec.convert(values, CameraSpec)


def _value(role: str, key: str, text: str) -> Any:
    if key == "fit" and text not in get_args(Fit):
        raise CameraError(f"--camera {role}: no such fit", got=repr(text), choices=get_args(Fit))
    try:
        value = OPTIONS[key](text)
    except ValueError:
        value = None
    low, high = BOUNDS.get(key, (0, 0))
    if value is None or (key in BOUNDS and not low <= value <= high):
        raise CameraError(
            f"--camera {role}: {key} is out of bounds",
            got=repr(text),
            expected=f"a number from {low:g} to {high:g}",
        )
    return value


def parse_cameras(texts: Sequence[str], features: Iterable[str]) -> dict[str, CameraSpec]:
    """Return the camera of each of the policy's image features that a flag names.

    Args:
        texts: values of ``--camera``.
        features: image features of the policy.

    Raises:
        CameraError: a role is none of the policy's, or is given twice.
    """
    found: dict[str, CameraSpec] = {}
    known = list(features)
    for text in texts:
        spec = parse_camera(text)
        feature = feature_of(spec.role, known)
        if feature in found:
            raise CameraError(
                f"--camera names the role of {feature} twice",
                got=f"{found[feature].role} and {spec.role}",
                expected="one camera for each image of the policy",
            )
        found[feature] = spec
    return found


def feature_of(role: str, features: Sequence[str]) -> str:
    """Return the image feature that a role means.

    Raises:
        CameraError: none, or more than one.
    """
    matching = [
        feature
        for feature in features
        if role in (feature, short := feature.rsplit(".", 1)[-1], short.removesuffix("_cam"))
    ]
    if len(matching) != 1:
        raise CameraError(
            f"the policy has no camera of the role {role!r}",
            choices=(feature.rsplit(".", 1)[-1] for feature in features),
            next_command="name the camera by the policy's image feature",
        )
    return matching[0]


def require_all(specs: dict[str, CameraSpec], features: Iterable[str], robot: str) -> None:
    """Raise a CameraError unless every image of the policy has its camera."""
    missing = [feature for feature in features if feature not in specs]
    if missing:
        raise CameraError(
            f"the policy sees {', '.join(missing)}, and no camera plays that role on the {robot}",
            expected="one --camera ROLE=KIND:SOURCE for each of them",
            next_command=f"--camera {missing[0].rsplit('.', 1)[-1]}=v4l2:/dev/video0",
        )
