"""A run's set-up as preflight knows it: fingerprint, watch of the cameras, report and permit."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from pathlib import Path

from dvla.engines.bundle import read_bundle
from dvla.engines.integrity import sha256_file
from dvla.runtime.cameras.frame_ring import FrameRing, FrameShape
from dvla.runtime.overrides import parse_override
from dvla.runtime.policy_entry import versioned
from dvla.runtime.preflight.camera_checks import check_cameras
from dvla.runtime.preflight.camera_watch import CameraWatch, read_references
from dvla.runtime.preflight.checks import check_all
from dvla.runtime.preflight.collect import bundle_evidence, gather
from dvla.runtime.preflight.finding import Finding
from dvla.runtime.preflight.permit import NotCleared, require_permit
from dvla.runtime.preflight.report import (
    Fingerprint,
    PreflightReport,
    arm_state_folder,
    limits_digest,
    load,
    save,
)
from dvla.runtime.robots import Robot
from dvla.runtime.run_arm import hardware_of_run
from dvla.runtime.run_config import RunConfig
from dvla.runtime.run_data import RunData
from dvla.runtime.summary import RunSummary

LOGGER = logging.getLogger("dvla.run")


def fingerprint_of(config: RunConfig, robot: Robot, cameras: dict[str, FrameShape]) -> Fingerprint:
    """Return what a set-up is.

    Raises:
        BundleError: its bundle is none.
    """
    bundle, hardware = config.bundle, hardware_of_run(config, robot)
    scheduler = config.scheduler()
    words = [
        f"ci {scheduler.ci}",
        f"laas {scheduler.laas}",
        f"seam {scheduler.seam} {scheduler.blend_steps} {scheduler.guide}",
        f"bootstrap {scheduler.bootstrap}",
        f"resume {scheduler.resume}",
        f"servo {config.servo_hz} Hz",
        f"injected {config.inject_latency_ms:g} ms, camera {config.inject_camera_ms:g} ms, "
        f"arm {config.inject_arm_ms:g} ms",
        *([f"delays {sha256_file(config.latency)[:12]}"] if config.latency else []),
        f"cameras within {config.camera_tolerance_ms:g} ms",
        f"noise scale {config.noise_scale}",
        f"engine threads {config.engine_threads}, CPUs {config.engine_cpus}",
    ]
    return Fingerprint(
        robot=robot.name,
        arm_name=config.arm_name or robot.name,
        arm_address=config.arm_address,
        sim=config.sim,
        hardware=hardware.words if hardware else "",
        policy=read_bundle(bundle).digest if bundle else versioned(config.policy),
        backend=config.backend if bundle else "",
        cameras={name: f"{shape.width}x{shape.height}" for name, shape in cameras.items()},
        limits=limits_digest(robot.limits_for(sim=config.sim), config.override),
        sources=tuple(config.camera),
        streaming=", ".join(words),
        start_pose=tuple(config.start_pose or robot.start_pose),
    )


def state_folder(fingerprint: Fingerprint) -> Path:
    """Return where the evidence about a set-up's arm is kept."""
    return arm_state_folder(fingerprint.arm_name, sim=fingerprint.sim)


class SetUp:
    """What preflight does in one run.

    Args:
        config: of the run.
        robot: that it names.
        rings: frames by image feature.
    """

    def __init__(self, config: RunConfig, robot: Robot, rings: dict[str, FrameRing]) -> None:
        self._config, self._robot = config, robot
        shapes = {name: ring.shape for name, ring in rings.items()}
        self.fingerprint = fingerprint_of(config, robot, shapes)
        self._folder = state_folder(self.fingerprint)
        self.cameras = CameraWatch(
            rings,
            {name: (shape.height, shape.width) for name, shape in shapes.items()},
            read_references(self._folder),
            noisy=bool(config.camera) or not config.sim,
        )

    def require_permit(self, argv: list[str]) -> None:
        """Raise unless this set-up may move its arm.

        Raises:
            NotCleared: it may not.
        """
        now = datetime.now(timezone.utc)
        require_permit(load(self._folder), self.fingerprint, now, shadow_command(argv))

    def require_cameras(self) -> None:
        """Raise when the cameras are no longer what they were: dead, dark or swapped.

        Raises:
            NotCleared: one of their checks fails.
        """
        found = check_cameras(self.cameras.evidence())
        failed = [finding for finding in found if finding.level == "fail"]
        if failed:
            raise NotCleared(
                "the cameras are not as the preflight saw them: "
                + "; ".join(f"{finding.check}: {finding.got}" for finding in failed),
                next_command=failed[0].next_command,
            )

    def conclude(
        self,
        data: RunData,
        summary: RunSummary,
        realtime: dict[str, str],
        clock_bound_s: float,
        widened: dict[str, float],
    ) -> PreflightReport:
        """Judge a shadow run; the report goes into its folder and to what is kept of the arm.

        Args:
            data, summary: of the run.
            realtime: what its processes were granted.
            clock_bound_s: of the arm's clock.
            widened: limits that a controller of its own has widened: name -> seconds left.
        """
        config = self._config
        evidence = gather(
            data,
            summary,
            limits=self._robot.limits_for(sim=config.sim),
            start_pose=self.fingerprint.start_pose,
            realtime=realtime,
            cameras=self.cameras.evidence(),
            duration_s=config.duration,
            bundle=bundle_evidence(config.bundle, config.backend) if config.bundle else None,
            clock_bound_s=clock_bound_s,
            overrides=widened
            | {o.name: o.duration_s for o in map(parse_override, config.override)},
        )
        findings: list[Finding] = check_all(evidence)
        run = data.folder.path
        now = datetime.now(timezone.utc)
        report = PreflightReport.of(self.fingerprint, findings, run, now)
        save(report, self._folder)
        try:
            self.cameras.save(run)
            save(report, run)
        except OSError as error:  # a full disk costs a run its recording, not its report
            LOGGER.warning("The preflight could not be kept in %s: %s", run, error.strerror)
        return report


def shadow_command(argv: list[str]) -> str:
    """Return the command that makes the evidence for a command with --execute."""
    left_out = {"--execute", "--yes", "--return-to-start"}
    kept = ["--shadow" if word == "--execute" else word for word in argv]
    return " ".join(["dvla-run", *(word for word in kept if word not in left_out)])
