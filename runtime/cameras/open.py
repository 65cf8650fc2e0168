"""Open the cameras of a run: drivers are imported when they are named, and not before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dvla.engines.bundle import read_bundle
from dvla.engines.manifest import PolicyFacts
from dvla.runtime.cameras.base import Camera
from dvla.runtime.cameras.device import DeviceCamera, Grabber
from dvla.runtime.cameras.errors import CameraError
from dvla.runtime.cameras.frame_ring import FrameShape
from dvla.runtime.cameras.recorded import RecordedCamera
from dvla.runtime.cameras.spec import CameraSpec
from dvla.runtime.clock import monotonic_ns
from dvla.runtime.recordings.episode import FilmPart, load_episode, parse_episode


def open_device(name: str, spec: CameraSpec, wanted: FrameShape) -> DeviceCamera:
    """Open a camera that is a device.

    Raises:
        CameraMissing: its library or the device is not there.
        CameraError: it does not deliver what is wanted.
    """
    grabber: Grabber
    if spec.kind == "v4l2":
        from dvla.runtime.cameras.v4l2 import V4l2Grabber

        grabber = V4l2Grabber(spec, wanted)
    elif spec.kind == "realsense":
        from dvla.runtime.cameras.realsense import RealSenseGrabber

        grabber = RealSenseGrabber(spec, wanted)
    else:
        from dvla.runtime.cameras.orbbec import OrbbecGrabber

        grabber = OrbbecGrabber(spec, wanted)
    return DeviceCamera(name, spec, wanted, grabber, monotonic_ns)


def open_recorded(
    name: str,
    spec: CameraSpec,
    wanted: FrameShape,
    start_ns: Callable[[], int],
    bundle: str = "",
) -> RecordedCamera:
    """Open a film, or one camera of a recorded episode.

    Args:
        name: image feature of the policy.
        spec: of the camera.
        wanted: size that the policy takes.
        start_ns: when the film begins, 0 before that is known.
        bundle: of the policy; what is played of a dataset is checked against it.

    Raises:
        CameraError: there is no such film, or not for this policy.
        UsageError: the recording cannot be read.
    """
    if spec.kind == "video":
        if not Path(spec.source).is_file():
            raise CameraError(f"{name}: there is no film", got=repr(spec.source))
        part = FilmPart(path=spec.source)
        return RecordedCamera(name, part, wanted, spec.fit, start_ns, latency_s=spec.latency_s)
    if not bundle:
        raise CameraError(
            f"{name}: a dataset is played for a policy",
            got="no --bundle",
            expected="--bundle BUNDLE, whose cameras the dataset has",
        )
    path, number = parse_episode(spec.source)
    facts: PolicyFacts = read_bundle(Path(bundle)).manifest.policy
    key = spec.feature or name
    episode = load_episode(path, number, facts, films=(key,))
    if key not in episode.films:
        raise CameraError(f"{path} has no film {key}", choices=sorted(episode.films))
    return RecordedCamera(
        name, episode.films[key], wanted, spec.fit, start_ns, episode.length_s, spec.latency_s
    )


def open_camera(
    name: str,
    spec: CameraSpec,
    wanted: FrameShape,
    start_ns: Callable[[], int],
    bundle: str = "",
) -> Camera:
    """Open a camera that is not the twin's; see ``open_device`` and ``open_recorded``."""
    if spec.kind in ("video", "lerobot"):
        return open_recorded(name, spec, wanted, start_ns, bundle)
    return open_device(name, spec, wanted)
