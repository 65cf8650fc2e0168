"""A cell from what a user asked for, with everything that cannot work refused before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from dvla.benchmarks.dom.campaign import kept_cell
from dvla.benchmarks.dom.latency import Latency
from dvla.benchmarks.dom.latency_source import MEASURED, parse_latency
from dvla.benchmarks.dom.result import CellConfig
from dvla.benchmarks.dom.schedules import ScheduleName, schedule_of
from dvla.benchmarks.dom.worker import is_bundle
from dvla.engines.bundle import read_bundle
from dvla.engines.errors import UsageError
from dvla.runtime.config import GuideFade, SchedulerConfig, SeamMode
from dvla.runtime.policy_checks import check_noise_scale
from dvla.runtime.policy_entry import find_policy, open_installed, versioned
from dvla.runtime.robots import robot_with_twin
from dvla.runtime.twin.dependencies import import_mujoco
from dvla.runtime.twin.objects import parse_task
from dvla.runtime.twin.scenes.choice import TaskKind, TrainingFamily


def digest_of(policy: str) -> str:
    """Return what tells a policy from another one of its name; nothing for oracle and expert.

    Raises:
        DvlaError: there is no such bundle or policy, or it cannot be opened.
    """
    if policy in ("oracle", "expert"):
        return ""
    if is_bundle(Path(policy)):
        return read_bundle(Path(policy)).digest
    open_installed(policy)
    return versioned(policy)


def cell_config(
    *,
    policy: str,
    robot: str,
    task: str,
    latency: str,
    spread: float,
    schedule: ScheduleName | None,
    ci: bool,
    laas: bool,
    seam: SeamMode,
    guide: GuideFade = "published",
    noise_scale: float | None = None,
    scenes: TrainingFamily | None = None,
    task_kind: TaskKind | None = None,
    kept: Sequence[Path] = (),
) -> CellConfig:
    """Return the configuration of a cell.

    Args:
        kept: reports and partial files of this very call, if it was begun before: a latency that
            was measured for them is not measured again, so that they stay of one cell.

    Raises:
        DvlaError: a part is unknown or out of bounds, or the parts do not go together.
    """
    switches = SchedulerConfig(ci=ci, laas=laas, seam=seam, guide=guide)
    scheduler = schedule_of(schedule, switches)
    _check_seam(scheduler.seam, policy)
    digest = digest_of(policy)
    check_noise_scale(noise_scale)
    if noise_scale is not None and not is_bundle(Path(policy)):
        raise UsageError(
            "--noise-scale is of the sampling of a bundle's network", got=f"--policy {policy}"
        )
    robot_with_twin(robot)
    if task and scenes:
        raise UsageError(
            "--scenes draws its own objects", expected="either --task or --scenes", got=task
        )
    if task:
        parse_task(task)
    import_mujoco()
    config = CellConfig(
        policy=policy,
        policy_digest=digest,
        robot=robot,
        task=task,
        scheduler=scheduler,
        noise_scale=noise_scale,
        scenes=scenes,
        task_kind=task_kind or "pick",
    )
    found = kept_latency(config, kept) if latency == MEASURED and not spread else None
    return msgspec.structs.replace(config, latency=found or parse_latency(latency, spread, config))


def _check_seam(seam: SeamMode, policy: str) -> None:
    """Raise a UsageError when chunks are to be guided of a policy that takes no guide."""
    if seam != "rtc":
        return
    if policy in ("oracle", "expert"):
        raise UsageError(
            "--seam rtc guides the sampling of a network; the oracle samples nothing",
            expected="--seam switch, blend or ensemble with --policy oracle",
        )
    if is_bundle(Path(policy)):
        return
    find_policy(policy)
    raise UsageError(
        f"--seam rtc guides the sampling of a bundle's network; {policy} takes no guide",
        expected="--seam switch, blend or ensemble with an installed policy",
    )


def kept_latency(config: CellConfig, kept: Sequence[Path]) -> Latency | None:
    """Return the latency that was measured for a cell when it was begun; None where it was not.

    Args:
        config: the cell, without its latency and its dimension.
        kept: files that may be of it.
    """
    for cell in map(kept_cell, kept):
        if cell is None or not cell.config.latency.source.startswith(MEASURED):
            continue
        same = msgspec.structs.replace(
            cell.config,
            latency=config.latency,
            dimension=config.dimension,
            task_kind=config.task_kind,
        )
        if same == config:
            return cell.config.latency
    return None
