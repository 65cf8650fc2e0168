"""Checks of a bundle alone, before anything runs: engine, tokenizer, statistics, files."""

from __future__ import annotations

from pathlib import Path

from dvla.engines.bundle import read_bundle
from dvla.engines.errors import BundleError
from dvla.runtime.preflight.action_checks import judge_normalisation
from dvla.runtime.preflight.collect import bundle_evidence
from dvla.runtime.preflight.finding import Finding, ok
from dvla.runtime.preflight.host_checks import judge_engine, judge_tokenizer


def check_bundle(path: Path, backend: str) -> list[Finding]:
    """Judge whether a bundle may run here.

    Raises:
        BundleError: it is none.
    """
    found = bundle_evidence(path, backend)
    return [
        _files(path),
        judge_engine(found),
        judge_tokenizer(found),
        judge_normalisation(found),
    ]


def _files(path: Path) -> Finding:
    bundle = read_bundle(path)
    try:
        bundle.check_files()
    except BundleError as error:
        return Finding(check="bundle", level="fail", got=str(error), expected="files as exported")
    facts = bundle.manifest.policy
    arm = f"for the {facts.robot_type}, " if facts.robot_type else ""
    return ok(
        "bundle",
        f"{path}, {arm}{facts.chunk_size} actions of {1e3 * facts.control_period_s:.0f} ms, "
        f"cameras {', '.join(facts.cameras)} at {facts.camera_width}x{facts.camera_height}",
    )
