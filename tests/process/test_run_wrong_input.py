"""What a run says to a wrong input: one paragraph, the right exit code, nothing left behind."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from run_harness import LiveRun

from dvla.runtime.cli.run import main

Start = Callable[..., LiveRun]
ORACLE = ("--policy", "oracle", "--duration", "1")

WRONG: dict[str, tuple[tuple[str, ...], int, str]] = {
    "unknown robot": (("--robot", "kuka", *ORACLE), 2, r"unknown robot.*'kuka'.*Valid: franka"),
    "no policy": ((), 2, r"--bundle is missing.*dvla-export"),
    "missing bundle": (("--bundle", "/nowhere"), 2, r"/nowhere is not a bundle.*dvla-export"),
    "both policies": (("--bundle", "/nowhere", *ORACLE), 2, r"no meaning"),
    "negative duration": (("--policy", "oracle", "--duration", "-3"), 2, r"--duration.*-3"),
    "endless latency": ((*ORACLE, "--inject-latency-ms", "1e9"), 2, r"--inject-latency-ms"),
    "a camera too late": ((*ORACLE, "--inject-camera-ms", "401"), 2, r"--inject-camera-ms.*400"),
    "a late arm elsewhere": (
        (*ORACLE, "--arm-address", "local", "--inject-arm-ms", "20"),
        2,
        r"--inject-arm-ms.*starts",
    ),
    "noise of an oracle": ((*ORACLE, "--noise-scale", "0.5"), 2, r"--noise-scale.*oracle"),
    "too much noise": (("--bundle", "/nowhere", "--noise-scale", "3"), 2, r"--noise-scale.*0 to 2"),
    "a policy of the benchmark": (
        ("--policy", "blurred-oracle:velocity=45"),
        2,
        r"simulator's truth.*dvla-bench dom",
    ),
    "a negative seed": ((*ORACLE, "--seed", "-1"), 2, r"--seed is out of bounds.*-1.*0 to "),
    "a huge seed": ((*ORACLE, "--seed", "9" * 23), 2, r"--seed is out of bounds.*99999"),
    "threads": ((*ORACLE, "--engine-threads", "-3"), 2, r"--engine-threads.*-3.*0 to 1024"),
    "backend": (
        ("--bundle", "/nowhere", "--backend", "nope"),
        2,
        r"Unknown backend.*'nope'.*onnxruntime, openvino",
    ),
    "servo rate": ((*ORACLE, "--servo-hz", "5"), 2, r"rate_hz is out of bounds.*5"),
    "blend steps": ((*ORACLE, "--seam", "blend", "--blend-steps", "0"), 2, r"blend_steps"),
    "guide without rtc": ((*ORACLE, "--guide", "aged"), 2, r"--guide aged.*--seam rtc"),
    "arm name": ((*ORACLE, "--arm-name", "../x"), 2, r"arm's name"),
    "arm model": ((*ORACLE, "--arm-model", "/nowhere.xml"), 2, r"/nowhere.xml cannot be read"),
    "task": ((*ORACLE, "--task", "dance"), 2, r"names no object.*ball, can, box"),
    "configuration": (("--config", "/nowhere.yaml"), 2, r"/nowhere.yaml cannot be used"),
    "no renderer": (ORACLE, 3, r"No off-screen OpenGL.*libegl1"),
}


STARTS_PROCESSES = ("unknown robot", "arm model", "no renderer")
"""Found by a process of the run; the others are found before there is any, the first one here too.
"""


@pytest.mark.parametrize("case", STARTS_PROCESSES)
def test_a_wrong_input_gets_one_paragraph_and_its_exit_code(start: Start, case: str) -> None:
    flags, code, message = WRONG[case]
    run = start(*flags, env={"MUJOCO_GL": "glfw"} if case == "no renderer" else None)
    assert run.end() == code, run.text
    run.until(message)
    assert "Traceback" not in run.text
    assert run.left_behind() == []
    assert not run.runs.exists() or not list(run.runs.iterdir()), "an empty run folder was left"


@pytest.mark.parametrize("case", sorted(WRONG.keys() - STARTS_PROCESSES))
def test_before_anything_starts_a_wrong_input_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, code, message = WRONG[case]
    out = tmp_path / "runs"
    words = ["dvla-run", "--robot", "franka", "--sim", "--plain", "--out", str(out), *flags]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == code, told
    assert re.search(message, told), told
    assert "Traceback" not in told
    assert not out.exists(), "a run folder was left"


def test_a_full_disk_ends_the_recording_and_not_the_run(start: Start, tmp_path: Path) -> None:
    disk = tmp_path / "runs"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1000k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        run = start("--policy", "oracle", "--duration", "12")
        assert run.end() == 0, run.text
        run.until("recording ended here: No space left")
        assert run.left_behind() == []
        assert len(run.events("action_in_force")) > 5, "what was recorded before is lost"
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
