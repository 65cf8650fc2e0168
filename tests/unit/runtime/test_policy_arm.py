"""A policy moves the arm that it was trained for, or one that nobody said it was not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from bundle_tools import tiny_bundle

from dvla.engines.bundle import read_bundle, write_manifest
from dvla.engines.errors import UsageError
from dvla.export.config import parse_config
from dvla.runtime.policy_checks import check_arm
from dvla.runtime.preflight.bundle_checks import check_bundle
from dvla.runtime.run_config import RunConfig
from dvla.runtime.run_settings import policy_facts

CHECKPOINT = Path(__file__).resolve().parents[3] / "policies" / "nano"


@pytest.fixture
def piper_bundle(tmp_path: Path) -> Path:
    """Return a bundle whose policy was trained for the PiPER."""
    copy = tmp_path / "piper.bundle"
    shutil.copytree(tiny_bundle(), copy)
    manifest = read_bundle(copy).manifest
    policy = msgspec.structs.replace(manifest.policy, robot_type="piper")
    write_manifest(copy, msgspec.structs.replace(manifest, policy=policy))
    return copy


def test_only_another_arm_of_ours_is_refused() -> None:
    for trained, moved in (
        ("franka", "franka"), ("", "piper"), ("so101", "franka"), ("franka", "replay"),
    ):  # fmt: skip
        check_arm(trained, moved)
    with pytest.raises(UsageError, match=r"policy for the franka, and --robot piper") as refused:
        check_arm("franka", "piper")
    assert refused.value.exit_code == 2


def test_a_run_refuses_a_bundle_for_another_arm(piper_bundle: Path) -> None:
    assert policy_facts(RunConfig(robot="piper", bundle=piper_bundle))["chunk_size"] == 20
    with pytest.raises(UsageError, match="for the piper, and --robot franka"):
        policy_facts(RunConfig(robot="franka", bundle=piper_bundle))
    assert "for the piper" in check_bundle(piper_bundle, "onnxruntime")[0].got


def test_the_benchmark_refuses_it_too(piper_bundle: Path) -> None:
    pytest.importorskip("mujoco")
    from dvla.benchmarks.dom.result import CellConfig
    from dvla.benchmarks.dom.worker import open_policy
    from dvla.training.collect.worker import Job, open_recorder

    with pytest.raises(UsageError, match="for the piper, and --robot franka"):
        open_policy(CellConfig(policy=str(piper_bundle)))
    with pytest.raises(UsageError, match="for the piper, and --robot franka"):
        open_recorder(Job(folder="", controller=str(piper_bundle)))


def test_the_arm_is_read_from_the_config_and_official_files_have_none() -> None:
    config = json.loads((CHECKPOINT / "config.json").read_bytes())
    for arm in ("franka", "piper"):
        assert (
            parse_config(json.dumps(config | {"robot_type": arm}).encode(), "it").robot_type == arm
        )
    del config["robot_type"]
    assert parse_config(json.dumps(config).encode(), "it").robot_type == ""
