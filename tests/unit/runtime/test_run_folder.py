"""Run folders: never overwritten, readable, honest about what is wrong with them."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import msgspec
import pytest
from synthetic_run import manifest

from dvla.runtime.append_file import AppendArray, read_rows
from dvla.runtime.machine import describe_machine
from dvla.runtime.run_folder import RunFolder, RunFolderError
from dvla.runtime.telemetry import SERVO_TICK

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def test_two_runs_of_one_second_get_two_folders(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path, "franka", sim=True, started=MOMENT)
    second = RunFolder.create(tmp_path, "franka", sim=True, started=MOMENT)
    assert first.path.name == "20260102T030405Z-franka-sim"
    assert second.path.name == "20260102T030405Z-franka-sim-2"


def test_a_robot_name_cannot_leave_the_root(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "../../etc/passwd", sim=False, started=MOMENT)
    assert folder.path.parent == tmp_path


def test_a_root_that_is_a_file_is_one_paragraph(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(RunFolderError, match="No run folder can be made") as caught:
        RunFolder.create(tmp_path / "runs", "franka", sim=True)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_manifest_and_config_come_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    written = manifest(machine=describe_machine())
    folder.write_manifest(written)
    folder.write_manifest(msgspec.structs.replace(written, pids={"arm": 7}))
    folder.write_config({"out": Path("runs"), "laas": True})
    assert folder.read_manifest().pids == {"arm": 7}
    assert folder.read_config() == {"out": "runs", "laas": True}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "manifest.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"robot": "franka"}', b"\xff\xfe"])
def test_a_damaged_manifest_is_an_error(tmp_path: Path, content: bytes) -> None:
    folder = RunFolder(tmp_path)
    folder.manifest.write_bytes(content)
    with pytest.raises(RunFolderError, match="damaged"):
        folder.read_manifest()


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("schema", 2, "another version. Got schema 2.*Expected a manifest of schema 1"),
        ("servo_rate_hz", 0.0, "damaged .*servo_rate_hz"),
        ("chunk_size", 0, "damaged .*chunk_size"),
        ("control_period_s", -1.0, "damaged .*control_period_s"),
        ("started_ns", -5, "damaged .*started_ns"),
    ],
)
def test_a_manifest_of_what_no_run_was_is_an_error(
    tmp_path: Path, field: str, value: float, told: str
) -> None:
    folder = RunFolder(tmp_path)
    folder.write_manifest(manifest(**{field: value}))
    with pytest.raises(RunFolderError, match=told):
        folder.read_manifest()


def test_arrays_are_read_whole_before_and_after_closing(tmp_path: Path) -> None:
    import numpy as np

    rows = np.zeros(300, SERVO_TICK)
    rows["t_ns"] = np.arange(300)
    file = AppendArray(tmp_path / "servo.npy", SERVO_TICK)
    file.append(rows[:120])
    file.append(rows[120:])
    np.testing.assert_array_equal(read_rows(tmp_path / "servo.npy"), rows)
    file.close()
    np.testing.assert_array_equal(np.load(tmp_path / "servo.npy"), rows)
    torn = (tmp_path / "servo.npy").read_bytes()[:-5]
    (tmp_path / "servo.npy").write_bytes(torn)
    np.testing.assert_array_equal(read_rows(tmp_path / "servo.npy"), rows[:-1])
