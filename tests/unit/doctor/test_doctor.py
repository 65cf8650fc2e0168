"""The doctor: what is refused is told with what to do, and only what is broken fails."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dvla.runtime.cli import doctor as command
from dvla.runtime.doctor import host, robot, rt
from dvla.runtime.errors import ConfigError
from dvla.runtime.percentiles import Percentiles
from dvla.runtime.preflight.finding import Finding, ok
from dvla.runtime.realtime import RealtimeReport


def probe(p99: float = 1e-4, top: float = 5e-4, **granted: Any) -> rt.Probe:
    late = Percentiles(count=500, p50=5e-5, p95=8e-5, p99=p99, max=top)
    return rt.Probe(realtime=RealtimeReport(**granted), lateness_s=late, overruns=0)


def levels(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.level for finding in findings}


def test_a_host_that_grants_everything_is_fine() -> None:
    found = rt.check_probe(probe(fifo_priority=20, memory_locked=True, timer_slack_ns=1))
    assert set(levels(found).values()) == {"ok"}
    assert "p99 100" in found[-1].got


def test_a_laptop_is_told_and_not_failed() -> None:
    found = rt.check_probe(probe())
    assert levels(found) == {
        "SCHED_FIFO": "warn",
        "mlockall": "warn",
        "timer slack": "warn",
        "wake-up lateness": "ok",
    }
    assert "rtprio" in found[0].next_command


@pytest.mark.parametrize(("p99", "level"), [(4e-4, "ok"), (2e-3, "warn"), (5e-3, "fail")])
def test_lateness_is_judged_by_its_percentiles(p99: float, level: str) -> None:
    assert rt.check_lateness(probe(p99, top=1.0)).level == level


def test_the_probe_runs_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rt, "PROBE_S", 0.1)
    before = os.sched_getscheduler(0)
    found = rt.run_probe(min(os.sched_getaffinity(0)))
    assert os.sched_getscheduler(0) == before
    assert found.lateness_s is not None and found.lateness_s.count > 10
    assert found.realtime.cpus == (min(os.sched_getaffinity(0)),)


def test_the_kernel_is_described_on_any_machine() -> None:
    found = levels(rt.check_kernel())
    assert set(found) == {
        "kernel preemption", "CPU governor", "clock source", "CPUs", "real-time throttling",
    }  # fmt: skip
    assert "fail" not in found.values()


def test_extras_are_never_required() -> None:
    found = host.check_extras(lambda module: module in ("mujoco", "tensorrt_rtx"))
    by_name = {finding.check: finding for finding in found}
    assert by_name["extra sim"].level == "skipped" and "av" in by_name["extra sim"].got
    assert by_name["extra tensorrt"].level == "ok", "one of the two is enough"
    assert "fail" not in levels(found).values()


def test_a_disk_is_measured_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "PROBE_BYTES", 1 << 20)
    space, speed = host.check_disk(tmp_path / "not" / "there")
    assert str(tmp_path) in space.got and "MB/s" in speed.got
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(host, "MIN_FREE", 1 << 60)
    assert host.check_disk(tmp_path)[0].level == "warn"


def test_a_cpu_quota_is_told(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text(f"{8 << 30}\n")
    found = host.check_container(tmp_path)
    assert found.level == "warn" and "1.5 CPUs" in found.got and "8.0 GiB" in found.got
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert host.check_container(tmp_path).level == "ok"
    assert host.check_container(tmp_path / "none").level == "ok"


def test_a_can_interface_is_found(tmp_path: Path) -> None:
    (tmp_path / "can0").mkdir()
    (tmp_path / "can0" / "type").write_text("280\n")
    assert robot._can(tmp_path).got == "can0"
    assert "franka" in robot.check_robot("franka")[0].check
    with pytest.raises(ConfigError):
        robot.check_robot("kuka")


def told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *flags: str
) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["dvla-doctor", *flags])
    code = command.main()
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.mark.parametrize(
    ("failing", "code"), [("", 0), ("disk space", 1), ("compiled extensions", 3)]
)
def test_exit_codes(
    failing: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [ok("Python", "3.11"), Finding(check="CPUs", level="warn", got="2")]
    if failing:
        findings.append(Finding(check=failing, level="fail", got="bad", expected="good"))
    monkeypatch.setattr(command, "_realtime", lambda: findings)
    assert told(monkeypatch, capsys, "--rt")[0] == code
    _, text = told(monkeypatch, capsys, "--rt", "--json")
    diagnosis = json.loads(text)
    assert diagnosis["exit_code"] == code and len(diagnosis["findings"]) == len(findings)


def test_wrong_input_is_one_paragraph(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for flags, words in (
        (("--robot", "kuka"), "unknown robot"),
        (("--accept-cameras", str(tmp_path)), "no pictures"),
        (("--preflight", "--arm-name", "A B"), "name is not valid"),
    ):
        code, text = told(monkeypatch, capsys, *flags)
        assert code == 2 and words in text and "Traceback" not in text
    code, text = told(monkeypatch, capsys, "--preflight", "--arm-name", "left")
    assert code == 1 and "none of arm 'left'" in text and "dvla-run --shadow" in text
