"""Subjects one after the other, each in a process with a time limit; results kept as they come."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import msgspec

import dvla
from dvla.benchmarks.latency.gpu.child import known_so_far
from dvla.benchmarks.latency.gpu.schema import GpuReport, GpuSubject, Job
from dvla.benchmarks.report.activity import ActivityMeter
from dvla.benchmarks.report.machine import describe_bench_machine
from dvla.engines.bundle import read_bundle
from dvla.engines.errors import MissingDependency, UsageError
from dvla.engines.files import write_atomically
from dvla.engines.lifeline import kill_group

LEAST_S = 10.0
"""A subject that would have less time than this is not started."""
CHILD = (sys.executable, "-m", "dvla.benchmarks.latency.gpu.child")
PREPARE = (sys.executable, "-m", "dvla.benchmarks.latency.gpu.prepare")
PEER = "eager-fp32"


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one call measures.

    Attributes:
        size: of the synthetic weights, ``tiny`` or ``full``.
        subjects: names, in their order.
        device: ``cuda`` or ``cpu``.
        budget_s: of everything, making the weights included; subject_limit_s: of one subject.
        work: folder for weights and bundle, which have a folder of their own there per size.
        command: that does the same again.
    """

    size: str
    subjects: tuple[str, ...]
    device: str
    rounds: int
    warm_up: int
    budget_s: float
    subject_limit_s: float
    work: Path
    command: str


def run_plan(
    plan: Plan, out: Path, say: Callable[[str], None], child: Sequence[str] = CHILD
) -> GpuReport:
    """Measure what the plan names; the report on the disk is never older than the last subject.

    Raises:
        MissingDependency: the weights could not be made in the time that there is.
    """
    ends_s, meter = time.monotonic() + plan.budget_s, ActivityMeter()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    work = plan.work / plan.size
    checkpoint, bundle = work / "checkpoint", work / "bundle"
    say(f"weights and bundle ({plan.size}) ...")
    failure = run_limited([*PREPARE, plan.size, str(work)], ends_s - time.monotonic(), plan.device)
    if failure:
        raise MissingDependency(
            f"The {plan.size} bundle was not made", got=failure, next_command="give --budget-s more"
        )
    machine = describe_bench_machine()
    report = GpuReport(
        dvla_version=dvla.__version__,
        command=plan.command,
        started_utc=started,
        device=device_name(plan.device, machine.base.cpu),
        machine=machine,
        size=plan.size,
        weights_sha256=read_bundle(bundle).manifest.source.sha256,
        budget_s=plan.budget_s,
    )
    for name in plan.subjects:
        result = work / f"{name}.json"
        result.unlink(missing_ok=True)
        job = Job(
            subject=name,
            checkpoint=str(checkpoint),
            bundle=str(bundle),
            device=plan.device,
            rounds=plan.rounds,
            warm_up=plan.warm_up,
            result=str(result),
        )
        limit_s = min(plan.subject_limit_s, ends_s - time.monotonic())
        say(f"{name} (at most {max(limit_s, 0):.0f} s) ...")
        found = measured(job, limit_s, child)
        say(f"{name}: {summary(found)}")
        report = with_subject(report, found)
        write_report(out, report)
    activity = meter.stop()
    report = msgspec.structs.replace(report, activity=activity, complete=True)
    write_report(out, report)
    return report


def measured(job: Job, limit_s: float, child: Sequence[str] = CHILD) -> GpuSubject:
    """Run one subject's process, and return what it found until it ended or was ended."""
    started_s = time.monotonic()
    if limit_s < LEAST_S:
        found = known_so_far(job)
        return msgspec.structs.replace(found, status="out of time", message="not started")
    failure = run_limited([*child, msgspec.json.encode(job).decode()], limit_s, job.device)
    found = known_so_far(job)
    if failure:
        # Rounds that were measured stay measured; what came after them is what is missing.
        ended = "out of time" if "time" in failure else "failed"
        status = found.status if found.status == "measured" else ended
        found = msgspec.structs.replace(found, status=status, message=failure)
    return msgspec.structs.replace(found, wall_s=time.monotonic() - started_s)


def run_limited(command: Sequence[str], limit_s: float, device: str) -> str:
    """Run a process group for at most so long; return what went wrong, or nothing.

    Args:
        command: of the process.
        limit_s: it is killed after that [s].
        device: ``cuda`` or ``cpu``; what runs on a CPU does not see the GPUs of this host.
    """
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    # A file and no pipe: a child that outlives the process would hold a pipe open.
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=os.environ | hidden,
            start_new_session=True,
        )
        try:
            process.wait(timeout=max(limit_s, 0.1))
        except subprocess.TimeoutExpired:
            return f"ended after its time of {limit_s:.0f} s"
        finally:
            # Compilers and cold starts are the process's children: they end with it.
            kill_group(process.pid)
            process.wait()
        stderr.seek(0)
        said = stderr.read()
    if process.returncode == 0:
        return ""
    lines = said.decode(errors="replace").strip().splitlines() or ["nothing was said"]
    return f"exit status {process.returncode}: {lines[-1][:400]}"


def with_subject(report: GpuReport, found: GpuSubject) -> GpuReport:
    """Return the report with one subject more, and the ratios to eager fp32."""
    subjects = (*report.subjects, found)
    p50_s = {s.name: s.spread_s.p50 for s in subjects if s.spread_s is not None}
    peer_s = p50_s.get(PEER)
    ratios = {name: peer_s / own_s for name, own_s in p50_s.items()} if peer_s else {}
    return msgspec.structs.replace(report, subjects=subjects, times_as_fast=ratios)


def summary(found: GpuSubject) -> str:
    """Return a subject's result as a line."""
    if found.spread_s is None:
        return f"{found.status}. {found.message}"
    kernels = ", ".join(f"{name} {part.kernels}" for name, part in found.parts.items())
    error = "" if found.relative_error is None else f", error {found.relative_error:.1e}"
    return (
        f"p50 {found.spread_s.p50 * 1e3:.2f} ms, p99 {found.spread_s.p99 * 1e3:.2f} ms, "
        f"{found.replan_hz:.1f} replans/s{error}; kernels: {kernels or 'not profiled'}"
        + (f" ({found.message})" if found.message else "")
    )


def device_name(device: str, cpu: str) -> str:
    """Return the name of the GPU, or of the CPU.

    Raises:
        UsageError: a GPU is asked for and there is none.
    """
    if device == "cpu":
        return cpu
    from dvla.engines.torch_library import library, on_gpu

    if not on_gpu():
        raise UsageError(
            "torch finds no GPU here", got="--device cuda", next_command="add --device cpu"
        )
    return str(library().cuda.get_device_name(0))


def write_report(path: Path, report: GpuReport) -> None:
    """Replace the report in one step."""
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"
    write_atomically(path, encoded)
