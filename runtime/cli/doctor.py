"""``dvla-doctor``: what this host grants, what a bundle needs, and what the preflight found."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import tyro

from dvla.engines.cli_errors import EXIT_ENVIRONMENT, run_main
from dvla.runtime.preflight.finding import Finding, lines, ok

ENVIRONMENT = ("Python", "compiled extensions")
"""Checks whose failure means that something is missing on this machine."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` prints."""

    findings: tuple[Finding, ...]
    exit_code: int


def doctor(
    rt: bool = False,
    bundle: Path | None = None,
    backend: str = "onnxruntime",
    robot: str = "",
    preflight: bool = False,
    accept_cameras: Path | None = None,
    arm_name: str = "",
    sim: bool = False,
    out: Path = Path("runs"),
    json: bool = False,
    debug: bool = False,
) -> int:
    """Say what this host grants, line by line, with what to do; it changes nothing.

    A laptop without permissions is no failure: what is refused is told, and costs punctuality.
    Exit code 0: nothing failed; 1: a check failed; 3: something is missing on this machine.

    Args:
        rt: Only what a real-time loop gets: tried for two seconds in a process of its own.
        bundle: Also whether this bundle may run here: engine, tokenizer, statistics.
        backend: That is to run it.
        robot: Also what driving this robot needs.
        preflight: Only the newest preflight of an arm: what it found, and how old it is.
        accept_cameras: Confirm that the pictures in this run's folder show the right cameras: from
            then on they are the references that tell a swap.
        arm_name: Of the arm, as given to dvla-run; the robot's name when empty.
        sim: The preflight and the cameras are those of the arm's twin.
        out: Folder in which runs are recorded.
        json: Print the findings as JSON.
        debug: Show tracebacks.
    """
    del debug  # read from the command line where the errors are told
    from dvla.runtime.robots import robot_by_name

    name = arm_name or robot or "franka"
    if robot:
        robot_by_name(robot)
    if accept_cameras is not None:
        findings = _accept(accept_cameras, name, sim=sim)
    elif preflight:
        findings = _preflight(name, sim=sim)
    else:
        findings = _realtime() if rt else [*_host(out), *_realtime()]
        if bundle is not None:
            findings += _bundle(bundle, backend)
        if robot:
            findings += _robot(robot)
    return _tell(findings, json)


def _accept(run: Path, name: str, *, sim: bool) -> list[Finding]:
    from dvla.runtime.preflight.camera_watch import accept_cameras
    from dvla.runtime.preflight.report import arm_state_folder

    folder = arm_state_folder(name, sim=sim)
    features = accept_cameras(run, folder)
    return [ok("camera references", f"{', '.join(features)} of {run}, kept in {folder}")]


def _preflight(name: str, *, sim: bool) -> list[Finding]:
    from dvla.runtime.preflight.permit import missing_for_execute
    from dvla.runtime.preflight.report import arm_state_folder, load

    folder = arm_state_folder(name, sim=sim)
    report = load(folder)
    if report is None:
        return [
            Finding(
                check="preflight",
                level="fail",
                got=f"none of arm {name!r}{' (twin)' if sim else ''} in {folder}",
                expected="the report of a run in shadow",
                next_command=f"dvla-run --shadow{' --sim' if sim else ''} --arm-name {name}",
            )
        ]
    now = datetime.now(timezone.utc)
    missing = missing_for_execute(report, report.fingerprint, now)
    age_s = report.age_s(now)
    told = f"made {age_s / 3600:.1f} h ago by {report.run}"
    if not missing:
        return [*report.findings, ok("preflight", f"{told}: passed")]
    return [
        *report.findings,
        Finding(
            check="preflight",
            level="fail",
            got=f"{told}: {'; '.join(missing)}",
            expected="recent evidence without a failure",
            next_command="dvla-run --shadow, with the flags of this set-up",
        ),
    ]


def _host(out: Path) -> list[Finding]:
    from dvla.runtime.doctor import host

    return [
        host.check_python(),
        host.check_extensions(),
        *host.check_extras(),
        *host.check_disk(out),
        host.check_opengl(),
        host.check_gpu(),
        host.check_container(),
    ]


def _realtime() -> list[Finding]:
    from dvla.runtime.doctor import rt

    return [*rt.check_kernel(), *rt.check_probe(rt.run_probe())]


def _bundle(path: Path, backend: str) -> list[Finding]:
    from dvla.runtime.preflight.bundle_checks import check_bundle

    return check_bundle(path, backend)


def _robot(name: str) -> list[Finding]:
    from dvla.runtime.doctor.robot import check_robot

    return check_robot(name)


def _tell(findings: list[Finding], json: bool) -> int:
    failed = [finding.check for finding in findings if finding.level == "fail"]
    code = 1 if failed else 0
    if any(check in ENVIRONMENT for check in failed):
        code = EXIT_ENVIRONMENT
    if json:
        diagnosis = Diagnosis(findings=tuple(findings), exit_code=code)
        print(msgspec.json.format(msgspec.json.encode(diagnosis), indent=2).decode())
        return code
    for line in lines(findings):
        print(line)
    return code


def main() -> int:
    """Entry point of ``dvla-doctor``."""
    return run_main(lambda: tyro.cli(doctor, prog="dvla-doctor"))


if __name__ == "__main__":
    sys.exit(main())
