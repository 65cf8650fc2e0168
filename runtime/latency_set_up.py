"""The measured delays of one set-up: found in a recorded run, kept in a file, used by the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.engines.files import write_atomically
from dvla.runtime.cameras.spec import BOUNDS, CameraSpec
from dvla.runtime.errors import ConfigError
from dvla.runtime.latency import (
    MAX_DELAY_S,
    MIN_DELAY_S,
    Delay,
    LatencyUnclear,
    find_delay,
    path_m,
    picture_change,
)
from dvla.runtime.recordings.mcap_read import cameras_of, pictures
from dvla.runtime.run_data import load_run

SCHEMA = 1
INTERVAL_S = 0.02
GAP_S = 0.03
"""The arm says nothing of an interval in which its states were further apart."""
MAX_CAMERA_S: float = BOUNDS["latency_s"][1]
"""What a camera's capture times are corrected by at most, found here or given by a flag."""
FIND = "dvla-calibrate latency RUN --out FILE"


class LatencySetUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``dvla-calibrate latency`` found.

    Attributes:
        run: that it was found in; robot, started_utc: of that run.
        actuation: command to measured motion.
        cameras: measured motion to picture, by feature name: how much older than its time stamp
            what a picture shows is.
        refused: why a camera has none, by feature name.
        injected_ms: what the run was told to add to its twin's own delays: arm, camera.
    """

    run: str
    robot: str
    sim: bool
    started_utc: str
    actuation: Delay
    cameras: dict[str, Delay]
    refused: dict[str, str] = {}
    injected_ms: dict[str, float] = {}
    schema: int = SCHEMA


def measure(path: Path) -> LatencySetUp:
    """Find the delays of the set-up that a run was recorded on.

    Args:
        path: of a run folder, recorded with ``--mcap``, in which the arm moved.

    Raises:
        LatencyUnclear: the run does not tell how late the arm is, or no camera's delay, or its
            host was too busy.
        RunFolderError: it is no run folder.
        UsageError: it kept no pictures.
    """
    data = load_run(path)
    cameras = cameras_of(path)
    if not cameras:
        raise UsageError(
            f"the run {path} kept no pictures, and a camera's delay is seen in nothing else",
            expected="a run recorded with --mcap, pictures of its cameras among it",
            next_command="dvla-run ... --mcap --policy stop-and-go, then dvla-calibrate latency "
            "RUN --out FILE",
        )
    arm = data.arm[np.isfinite(data.arm["measured"]).all(axis=1)]
    if len(arm) < 2:
        raise LatencyUnclear("the arm of this run reported nothing", got=f"{len(arm)} states")
    origin_ns = int(arm["t_ns"][0])
    t_s = np.asarray((arm["t_ns"] - origin_ns) * 1e-9, np.float64)
    commanded, measured = path_m(arm["commanded"]), path_m(arm["measured"])
    edges_s = np.asarray(np.arange(t_s[0], t_s[-1], INTERVAL_S), np.float64)
    moved: NDArray[np.float64] = np.diff(np.interp(edges_s, t_s, measured))
    moved[_in_gaps(t_s, edges_s)] = np.nan
    actuation = find_delay("the arm's delay", t_s, commanded, edges_s, moved)
    found: dict[str, Delay] = {}
    refused: dict[str, str] = {}
    for camera in cameras:
        change, times_ns = _changes(path, camera)
        shown_s = np.asarray((times_ns - origin_ns) * 1e-9, np.float64)
        try:
            rest = find_delay(f"the delay of {camera}", t_s, measured, shown_s, change)
        except LatencyUnclear as error:
            refused[camera] = str(error)
            continue
        # What the run itself took off its stamps is not seen in them any more.
        taken_s = data.manifest.delays_s.get(camera.rsplit(".", 1)[-1], 0.0)
        delay_s = rest.delay_s + taken_s
        if delay_s > MAX_CAMERA_S:
            refused[camera] = (
                f"the delay of {camera} is {delay_s:.3f} s, and no run takes off more than "
                f"{MAX_CAMERA_S:g} s."
            )
            continue
        found[camera] = msgspec.structs.replace(rest, delay_s=delay_s)
    if refused and not found:
        raise LatencyUnclear(" ".join(refused.values()))
    return LatencySetUp(
        run=str(path),
        robot=data.manifest.robot,
        sim=data.manifest.sim,
        started_utc=data.manifest.started_utc,
        actuation=actuation,
        cameras=found,
        refused=refused,
        injected_ms=_injected(data.config),
    )


def _in_gaps(t_s: NDArray[np.float64], edges_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which intervals (k,) between edges (k + 1,) lie partly in a gap of the times (n,)."""
    apart_s = np.diff(t_s)
    lost_s = np.concatenate([[0.0], np.cumsum(np.where(apart_s > GAP_S, apart_s, 0.0))])
    return np.asarray(np.diff(np.interp(edges_s, t_s, lost_s)) > 0.0)


def _injected(config: Mapping[str, Any]) -> dict[str, float]:
    """Return the delays that a run was told to add to its twin's; what is no number is none."""
    found = {name: config.get(f"inject_{name}_ms") for name in ("arm", "camera")}
    return {
        name: float(late_ms)
        for name, late_ms in found.items()
        if isinstance(late_ms, (int, float)) and not isinstance(late_ms, bool) and late_ms
    }


def _changes(path: Path, camera: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what changes from picture to picture (n - 1,), and their times (n,) [ns]."""
    times: list[int] = []

    def seen() -> Iterator[NDArray[np.uint8]]:
        for t_ns, image_hwc in pictures(path, camera):
            times.append(t_ns)
            yield image_hwc

    change = picture_change(seen())
    return change, np.array(times, np.int64)


def write_set_up(path: Path, set_up: LatencySetUp) -> None:
    """Keep a set-up's delays."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(set_up), indent=2) + b"\n")


def read_set_up(path: Path) -> LatencySetUp:
    """Return the delays of a set-up.

    Raises:
        ConfigError: there are none, the file is damaged or of another version, or a delay is none
            that is ever found.
    """
    try:
        set_up = msgspec.json.decode(path.read_bytes(), type=LatencySetUp)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(
            f"the delays of this set-up cannot be read from {path}",
            got=str(error),
            expected="a file that dvla-calibrate wrote",
            next_command=FIND,
        ) from error
    if set_up.schema != SCHEMA:
        raise ConfigError(
            f"the delays in {path} are written in another version's way",
            got=f"schema {set_up.schema}",
            expected=f"schema {SCHEMA}",
            next_command=FIND,
        )
    _check_delay(path, "the arm", set_up.actuation, MAX_DELAY_S)
    for camera, delay in set_up.cameras.items():
        _check_delay(path, camera, delay, MAX_CAMERA_S)
    return set_up


def _check_delay(path: Path, name: str, delay: Delay, most_s: float) -> None:
    """Raise a ConfigError unless a delay may be one that was found."""
    if not MIN_DELAY_S <= delay.delay_s <= most_s:
        raise ConfigError(
            f"the delay of {name} in {path} is out of bounds",
            got=f"{delay.delay_s:g} s",
            expected=f"{MIN_DELAY_S:g} to {most_s:g} s",
            next_command=FIND,
        )


def set_up_of(path: Path, robot: str, *, sim: bool) -> LatencySetUp:
    """Return the delays of the set-up that a run is on.

    Raises:
        ConfigError: there are none, the file is damaged, or they are another set-up's.
    """
    set_up = read_set_up(path)
    if (set_up.robot, set_up.sim) != (robot, sim):
        kinds = {True: "digital twin of the", False: "real"}
        raise ConfigError(
            f"the delays in {path} are those of another set-up",
            got=f"measured on the {kinds[set_up.sim]} {set_up.robot}",
            expected=f"the {kinds[sim]} {robot}",
            next_command="dvla-run ... --mcap there, then dvla-calibrate latency RUN --out FILE",
        )
    return set_up


def corrected(
    specs: dict[str, CameraSpec], features: Iterable[str], set_up: LatencySetUp
) -> dict[str, CameraSpec]:
    """Return cameras whose capture times are corrected by what was measured.

    A latency that a ``--camera`` flag names itself stays, 0 too; a picture is never dated later.

    Args:
        specs: cameras that flags name, by feature; where none is named the twin's is meant.
        features: images of the policy.
        set_up: what was measured.
    """
    found = dict(specs)
    for feature in features:
        delay = set_up.cameras.get(feature)
        spec = specs.get(feature, CameraSpec(role=feature, kind="twin"))
        if delay is not None and spec.known_latency_s is None:
            found[feature] = msgspec.structs.replace(spec, known_latency_s=max(0.0, delay.delay_s))
    return found
