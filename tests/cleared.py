"""A set-up that has passed its preflight: what ``--execute`` asks for, without the shadow run."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from dvla.runtime.preflight.finding import ok
from dvla.runtime.preflight.report import PreflightReport, save
from dvla.runtime.preflight.setup import fingerprint_of, state_folder
from dvla.runtime.robots import robot_by_name
from dvla.runtime.run_config import RunConfig
from dvla.runtime.run_settings import policy_facts


def clear(config: RunConfig, folder: Path) -> None:
    """Write, where a run looks for it, that the set-up of a configuration has passed.

    Args:
        config: of the run that is to execute; XDG_STATE_HOME is that run's.
        folder: named as the one of the shadow run.
    """
    setup = fingerprint_of(config, robot_by_name(config.robot), policy_facts(config)["cameras"])
    report = PreflightReport.of(setup, [ok("test", "passed")], folder, datetime.now(timezone.utc))
    save(report, state_folder(setup))
