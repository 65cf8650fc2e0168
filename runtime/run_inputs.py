"""What a run sees: its cameras and, in a replay, the episode; checked before anything starts."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from dvla.engines.bundle import read_bundle
from dvla.engines.errors import MissingDependency, UsageError
from dvla.runtime.cameras.spec import CameraSpec, parse_cameras, require_all
from dvla.runtime.errors import ConfigError
from dvla.runtime.latency_set_up import LatencySetUp, corrected, set_up_of
from dvla.runtime.recordings.episode import RecordedEpisode, load_episode, parse_episode
from dvla.runtime.recordings.recorded_rows import RECORDED_STEP
from dvla.runtime.twin.scene import CAMERAS

if TYPE_CHECKING:
    from dvla.runtime.processes.settings import Settings
    from dvla.runtime.run_config import RunConfig

REPLAY = "replay"
AFTER_EPISODE_S = 0.5
MAX_MCAP_MB = 65536
TOLERANCE_BOUNDS_MS = (1.0, 100.0)


def check_inputs(config: RunConfig) -> None:
    """Raise unless cameras and episode go together with the rest of the configuration.

    Raises:
        UsageError: they do not.
        ConfigError: a value is out of its bounds.
        MissingDependency: what was asked for needs a library that is not installed.
    """
    low, high = TOLERANCE_BOUNDS_MS
    if not low <= config.camera_tolerance_ms <= high:
        raise ConfigError(
            "--camera-tolerance-ms is out of bounds",
            got=config.camera_tolerance_ms,
            expected=f"{low:g} to {high:g}",
        )
    if not 1 <= config.mcap_mb <= MAX_MCAP_MB:
        raise ConfigError(
            "--mcap-mb is out of bounds", got=config.mcap_mb, expected=f"1 to {MAX_MCAP_MB}"
        )
    _require_libraries(config)
    available = os.sched_getaffinity(0)
    if not available.issuperset(config.engine_cpus):
        raise ConfigError(
            "--engine-cpus names a CPU that this process may not use",
            got=" ".join(map(str, config.engine_cpus)),
            expected="of " + " ".join(map(str, sorted(available))),
        )
    if config.robot != REPLAY:
        if config.episode:
            raise UsageError("--episode has a meaning only for a replay", expected="--robot replay")
        if config.policy == "oracle" and config.camera:
            raise UsageError(
                "--policy oracle looks at no pictures, so --camera has no meaning with it",
                next_command="leave one of the two out",
            )
        return
    oracle = config.policy == "oracle"
    others: dict[str, object] = {"--sim": config.sim, "--camera": config.camera}
    others |= {"--execute": config.execute, "--arm-address": config.arm_address}
    others |= {"--policy oracle": oracle}
    for flag, given in others.items():
        if given:
            raise UsageError(
                f"--robot replay takes its arm and its pictures from the episode, and no {flag}",
                expected="dvla-run --robot replay --episode DATASET[:N] --bundle BUNDLE",
            )
    if config.bundle is None or not config.episode:
        raise UsageError(
            "--robot replay needs a policy and an episode for it",
            got="no --episode" if config.bundle else "no --bundle",
            expected="dvla-run --robot replay --episode DATASET[:N] --bundle BUNDLE",
        )


def _require_libraries(config: RunConfig) -> None:
    for flag, wanted, extra, names in (
        ("--mcap", config.mcap, "recordings", ("mcap", "av")),
        ("--viz", config.viz, "viz", ("rerun", "mcap", "av")),
    ):
        missing = [name for name in names if wanted and find_spec(name) is None]
        if missing:
            raise MissingDependency(
                f"{flag} needs what is not installed",
                got=f"no Python package {', '.join(missing)}",
                next_command=f"pip install 'dvla[{extra}]', or run without {flag}",
            )


def episode_of(config: RunConfig) -> RecordedEpisode | None:
    """Return the episode that a run replays, None when it replays none.

    Raises:
        UsageError: there is no such episode, or not for this policy.
    """
    if config.robot != REPLAY or config.bundle is None:
        return None
    path, number = parse_episode(config.episode)
    return load_episode(path, number, read_bundle(config.bundle).manifest.policy)


def of_episode(config: RunConfig, episode: RecordedEpisode) -> RunConfig:
    """Return a configuration that lasts as long as its episode and does what was asked in it."""
    return msgspec.structs.replace(
        config,
        task=config.task or episode.instruction,
        duration=episode.length_s + AFTER_EPISODE_S,
    )


def lead_s(config: RunConfig) -> float:
    """Return how much earlier setpoints are due, so that the arm is there in time [s].

    Raises:
        ConfigError: the measured delays cannot be read, or are another set-up's.
    """
    set_up = _set_up(config)
    return 0.0 if set_up is None else set_up.actuation.delay_s


def _set_up(config: RunConfig) -> LatencySetUp | None:
    """Return the delays of the set-up that were asked for."""
    if config.latency is None:
        return None
    return set_up_of(config.latency, config.robot, sim=config.sim)


def delays_s(settings: Settings) -> dict[str, float]:
    """Return by how much due times and capture times of a run are corrected; by name [s]."""
    found = {"arm": settings.scheduler.lead_s}
    found |= {
        name.rsplit(".", 1)[-1]: spec.latency_s for name, spec in settings.camera_specs.items()
    }
    return {name: delay_s for name, delay_s in found.items() if delay_s}


def input_settings(config: RunConfig, features: dict[str, Any]) -> dict[str, Any]:
    """Return what the processes are told of cameras and episode.

    Args:
        config: as checked.
        features: the policy's images by name.

    Raises:
        CameraError: a camera is missing, or its role is none of the policy's.
        ConfigError: the twin has no such camera, or the delays are another set-up's.
    """
    specs: dict[str, CameraSpec] = parse_cameras(config.camera, features)
    set_up = _set_up(config)
    if set_up is not None:
        specs = corrected(specs, features, set_up)
    if config.sim:
        for feature in features:
            if feature not in specs and feature.rsplit(".", 1)[-1] not in CAMERAS:
                raise ConfigError(
                    f"the twin has no camera for the policy's input {feature}", choices=CAMERAS
                )
    elif config.robot != REPLAY:
        require_all(specs, features, config.robot)
    path, number = parse_episode(config.episode) if config.episode else (Path(), 0)
    return {
        "camera_specs": specs,
        "camera_tolerance_s": config.camera_tolerance_ms / 1e3,
        "mcap_bytes": config.mcap_mb << 20 if config.mcap or config.viz else 0,
        "episode": f"{path.resolve()}:{number}" if config.episode else "",
    }


def write_recorded(path: Path, episode: RecordedEpisode) -> None:
    """Keep what was recorded beside what the policy makes of it."""
    rows = np.zeros(len(episode.t_s), RECORDED_STEP)
    rows["t_s"], rows["action"], rows["measured"] = (
        episode.t_s, episode.actions, episode.states,
    )  # fmt: skip
    np.save(path, rows, allow_pickle=False)
