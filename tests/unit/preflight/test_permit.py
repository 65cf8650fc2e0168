"""The permit: recent evidence of this very set-up, or a list of everything that is missing."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dvla.runtime.errors import WireError
from dvla.runtime.preflight.finding import Finding, ok
from dvla.runtime.preflight.permit import NotCleared, missing_for_execute, require_permit
from dvla.runtime.preflight.report import (
    NAME,
    Fingerprint,
    PreflightReport,
    arm_state_folder,
    load,
    save,
)
from dvla.runtime.preflight.setup import shadow_command

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
SETUP = Fingerprint(
    robot="franka", arm_name="left", arm_address="", sim=True, policy="abc", backend="onnxruntime",
    cameras={"observation.images.opst_cam": "480x360"}, limits="123", streaming="ci True",
    start_pose=(0.4, 0.0, 0.28, 3.14, 0.0, 0.0),
)  # fmt: skip
BAD = Finding(check="latency", level="fail", got="2.44 s", expected="below 0.80 s")


def report(*findings: Finding, setup: Fingerprint = SETUP, hours: float = 1.0) -> PreflightReport:
    found = list(findings) or [ok("arm", "follow")]
    return PreflightReport.of(setup, found, Path("run"), NOW - timedelta(hours=hours))


def test_recent_evidence_of_this_set_up_is_a_permit() -> None:
    assert missing_for_execute(report(), SETUP, NOW) == []
    require_permit(report(), SETUP, NOW, "dvla-run --shadow")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "no shadow run"),
        (report(hours=13.0), "13.0 h old"),
        (report(hours=-1.0), "from the future"),
        (report(BAD), "'latency' failed: 2.44 s"),
        (report(Finding(check="x", level="skipped", got="nothing")), "nothing was checked"),
    ],
)
def test_anything_else_is_none_and_is_named(found: PreflightReport | None, words: str) -> None:
    with pytest.raises(NotCleared, match=words) as caught:
        require_permit(found, SETUP, NOW, "dvla-run --shadow")
    assert "'left'" in str(caught.value) and "Next: dvla-run --shadow" in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("policy", "def"), ("arm_name", "right"), ("sim", False), ("limits", "124"),
        ("cameras", {}), ("backend", "openvino"), ("start_pose", ()), ("streaming", "ci False"),
        ("arm_address", "tcp://10.0.0.2:5000"), ("robot", "piper"), ("version", "9"),
    ],
)  # fmt: skip
def test_foreign_evidence_is_none(field: str, other: Any) -> None:
    foreign = msgspec.structs.replace(SETUP, **{field: other})
    (missing,) = missing_for_execute(report(setup=foreign), SETUP, NOW)
    assert "another set-up" in missing and f"{field}: {other!r} then" in missing


def test_everything_that_is_missing_is_said_at_once() -> None:
    foreign = msgspec.structs.replace(SETUP, policy="def")
    found = report(BAD, setup=foreign, hours=20.0)
    assert len(missing_for_execute(found, SETUP, NOW)) == 3


def test_a_report_is_kept_and_a_damaged_one_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = arm_state_folder("left", sim=True)
    assert load(folder) is None
    save(report(BAD), folder, tmp_path / "run")
    assert load(folder) == report(BAD) == load(tmp_path / "run")
    assert arm_state_folder("left") != folder, "a twin's evidence is not its arm's"
    (folder / NAME).write_text((folder / NAME).read_text().replace("fail", "ok?"))
    assert load(folder) is None
    with pytest.raises(WireError):
        arm_state_folder("../elsewhere")


def test_the_command_that_makes_the_evidence_is_the_same_but_for_the_motion() -> None:
    argv = ["--config", "a.yaml", "--execute", "--yes", "--seam", "blend", "--return-to-start"]
    assert shadow_command(argv) == "dvla-run --config a.yaml --shadow --seam blend"
