"""Checks of the cameras: right names and sizes, live, lit, and each in its own role."""

from __future__ import annotations

from dvla.runtime.preflight.evidence import CameraEvidence
from dvla.runtime.preflight.finding import Finding, missing, ok

MIN_LOOKS = 5
BLACK_MEAN, FLAT_DEVIATION = 8.0, 3.0
WHITE_MEAN = 247.0
MIN_FRAME_HZ = 10.0
SWAP_MARGIN = 0.15
"""How much better the swapped assignment has to match the references than the named one."""
UNLIKE = 0.3


def check_cameras(cameras: tuple[CameraEvidence, ...]) -> list[Finding]:
    """Judge every camera by itself, then all together."""
    return [*(_check_camera(camera) for camera in cameras), check_roles(cameras)]


def _check_camera(camera: CameraEvidence) -> Finding:
    name = f"camera {camera.name.rsplit('.', 1)[-1]}"
    if camera.looked < MIN_LOOKS:
        return missing(name, f"{camera.looked} pictures")
    size = f"{camera.found[1]}x{camera.found[0]}"
    got = f"{size}, {camera.frame_hz:.1f} frames/s, mean brightness {camera.mean:.0f}"
    if camera.found != camera.wanted:
        return Finding(
            check=name,
            level="fail",
            got=got,
            expected=f"{camera.wanted[1]}x{camera.wanted[0]}, as the policy takes it",
            next_command="set the camera's size, or export with --camera-size " + size,
        )
    if camera.mean < BLACK_MEAN or camera.mean > WHITE_MEAN or camera.deviation < FLAT_DEVIATION:
        return Finding(
            check=name,
            level="fail",
            got=f"{got}, deviation {camera.deviation:.1f}: black, white or flat pictures",
            expected="pictures of the scene",
            next_command="take the cap off, turn the light on, check the exposure",
        )
    if camera.distinct == 0:
        return Finding(
            check=name,
            level="fail" if camera.noisy else "warn",
            got=f"{got}: the same picture {camera.looked} times",
            expected="sensor noise at least; only the twin's pictures repeat, while nothing moves",
            next_command="reconnect the camera: it is frozen, or a file is played",
        )
    if camera.frame_hz < MIN_FRAME_HZ:
        return Finding(
            check=name,
            level="warn",
            got=got,
            expected=f"at least {MIN_FRAME_HZ:g} frames/s, best 25",
            next_command="use another port or format, or free the host",
        )
    return ok(name, got)


def check_roles(cameras: tuple[CameraEvidence, ...]) -> Finding:
    """Compare each camera's picture with the references of all roles: is it the one it is named?"""
    name = "camera roles"
    short = {camera.name: camera.name.rsplit(".", 1)[-1] for camera in cameras}
    if len(cameras) < 2:
        return ok(name, "one camera")
    if any(other.name not in camera.likeness for camera in cameras for other in cameras):
        return Finding(
            check=name,
            level="warn",
            got="no pictures to compare with: nobody has confirmed which camera is which",
            expected="reference pictures of this set-up, confirmed by a person",
            next_command="look at the PNGs in the run folder, then: dvla-doctor --accept-cameras "
            "RUN",
        )
    told = ", ".join(f"{short[c.name]} {c.likeness[c.name]:.2f}" for c in cameras)
    for i, one in enumerate(cameras):
        for other in cameras[i + 1 :]:
            kept = one.likeness[one.name] + other.likeness[other.name]
            swapped = one.likeness[other.name] + other.likeness[one.name]
            if swapped > kept + SWAP_MARGIN:
                return Finding(
                    check=name,
                    level="fail",
                    got=f"{short[one.name]} shows what {short[other.name]} showed, and the other "
                    f"way round (likeness {swapped / 2:.2f} against {kept / 2:.2f})",
                    expected="each camera in its own role",
                    next_command="swap the two in the configuration, or their cables",
                )
    unlike = [short[c.name] for c in cameras if c.likeness[c.name] < UNLIKE]
    if unlike:
        return Finding(
            check=name,
            level="warn",
            got=f"likeness to the references: {told}",
            expected=f"at least {UNLIKE}: {' and '.join(unlike)} does not look like its reference",
            next_command="move the camera back, or confirm new references: dvla-doctor "
            "--accept-cameras RUN",
        )
    return ok(name, f"likeness to the references: {told}")
