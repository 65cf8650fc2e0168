"""Checks of time, host, engine and arm."""

from __future__ import annotations

import math

from dvla.runtime.clock_offset import MAX_EXECUTE_BOUND_NS
from dvla.runtime.errors import ConfigError
from dvla.runtime.limit_bounds import check_limits
from dvla.runtime.preflight.evidence import BundleEvidence, Evidence
from dvla.runtime.preflight.finding import Finding, missing, ok, skipped

MIN_CHUNKS = 5
FEW_LEFT_SHARE = 0.5
GIB = 1 << 30


def check_latency(evidence: Evidence) -> Finding:
    """Is a chunk long enough for the latency, or will the policy be TOO_SLOW?"""
    name = "latency"
    delay = evidence.delay_s
    if delay is None or delay.count < MIN_CHUNKS:
        return missing(name, f"{0 if delay is None else delay.count} chunks")
    steps = math.ceil(delay.p95 / evidence.period_s)
    chunk = round(evidence.chunk_s / evidence.period_s)
    left = max(0, chunk - steps)
    got = (
        f"{delay.p50:.2f} s from observation to arrival, p95 {delay.p95:.2f} s; of {chunk} actions "
        f"({evidence.chunk_s:.2f} s) {left} are left then"
    )
    if delay.p95 >= evidence.chunk_s:
        return Finding(
            check=name,
            level="fail",
            got=got,
            expected=f"below H * T = {evidence.chunk_s:.2f} s: every chunk would be stale "
            "(TOO_SLOW)",
            next_command="a faster backend or device, fewer --steps, or a quieter host",
        )
    if delay.p95 > FEW_LEFT_SHARE * evidence.chunk_s:
        return Finding(
            check=name,
            level="warn",
            got=got,
            expected=f"p95 below half a chunk ({FEW_LEFT_SHARE * evidence.chunk_s:.2f} s), so that "
            "one late chunk is no underrun",
            next_command="a faster backend, or a quieter host",
        )
    return ok(name, got)


def check_servo(evidence: Evidence) -> Finding:
    """Does the servo wake up in time?"""
    name = "servo"
    late = evidence.lateness_s
    if late is None or late.count < 200:
        return missing(name, f"{0 if late is None else late.count} servo ticks")
    got = (
        f"p99 {1e3 * late.p99:.2f} ms late, at most {1e3 * late.max:.1f} ms, {evidence.overruns} "
        f"overruns of {evidence.ticks} ticks"
    )
    if late.p99 > 2.0 * evidence.servo_period_s:
        return Finding(
            check=name,
            level="fail",
            got=got,
            expected=f"p99 below two periods ({2e3 * evidence.servo_period_s:.0f} ms)",
            next_command="dvla-doctor --rt",
        )
    if late.p99 > 0.5 * evidence.servo_period_s or evidence.overruns > evidence.ticks // 1000:
        return Finding(
            check=name,
            level="warn",
            got=got,
            expected="p99 below half a period and hardly an overrun",
            next_command="dvla-doctor --rt",
        )
    return ok(name, got)


def check_realtime(evidence: Evidence) -> Finding:
    """Were real-time priorities granted to the loops that need them?"""
    name = "real-time"
    told = "; ".join(f"{process}: {words}" for process, words in evidence.realtime.items())
    if not told:
        return missing(name, "nothing reported")
    if all("SCHED_FIFO" in words for words in evidence.realtime.values()):
        return ok(name, told)
    return Finding(
        check=name,
        level="warn",
        got=told,
        expected="SCHED_FIFO for the servo and the arm controller",
        next_command="dvla-doctor --rt says what to permit",
    )


def check_engine(evidence: Evidence) -> Finding:
    """Was this very engine verified on this very machine?"""
    if evidence.bundle is None:
        return skipped("engine", "no network")
    return judge_engine(evidence.bundle)


def judge_engine(bundle: BundleEvidence) -> Finding:
    """Judge whether a bundle's engine may run here."""
    name = "engine"
    if bundle.engine_problem:
        return Finding(
            check=name,
            level="fail",
            got=bundle.engine_problem,
            expected="an engine that was verified on this machine",
            next_command="dvla-export BUNDLE --verify",
        )
    if bundle.judged_on == "synthetic":
        return Finding(
            check=name,
            level="warn",
            got=f"{bundle.engine}, verified on synthetic pictures alone",
            expected="a verification on recorded observations",
            next_command="dvla-export MODEL -o BUNDLE --overwrite --calibration DATASET",
        )
    return ok(name, f"{bundle.engine}, verified here on {bundle.judged_on} observations")


def check_tokenizer(evidence: Evidence) -> Finding:
    """Is the tokenizer the one of the export?"""
    if evidence.bundle is None:
        return skipped("tokenizer", "no network")
    return judge_tokenizer(evidence.bundle)


def judge_tokenizer(bundle: BundleEvidence) -> Finding:
    """Judge a bundle's tokenizer."""
    name = "tokenizer"
    if bundle.tokenizer_problem:
        return Finding(
            check=name,
            level="fail",
            got=bundle.tokenizer_problem,
            expected="the tokenizer.json that the bundle was made with",
            next_command="export the bundle again with the right --tokenizer",
        )
    return ok(name, "the one of the export")


def check_disk(evidence: Evidence) -> Finding:
    """Is there room for the recording?"""
    name = "disk"
    got = f"{evidence.free_bytes / GIB:.1f} GiB free, {evidence.wanted_bytes / GIB:.1f} wanted"
    if evidence.free_bytes >= evidence.wanted_bytes:
        return ok(name, got)
    return Finding(
        check=name,
        level="fail" if evidence.free_bytes < evidence.wanted_bytes // 4 else "warn",
        got=got,
        expected="room for the whole run: a full disk ends the recording, not the run",
        next_command="free some space, or choose another folder with --out",
    )


def check_clock(evidence: Evidence) -> Finding:
    """Is the arm's clock known well enough?"""
    name = "clock"
    bound_s = evidence.clock_bound_s
    if bound_s == 0.0:
        return ok(name, "policy and arm on one host, one clock")
    limit_s = MAX_EXECUTE_BOUND_NS / 1e9
    got = f"the arm's clock is known to {1e3 * bound_s:.2f} ms"
    if bound_s <= limit_s:
        return ok(name, got)
    return Finding(
        check=name,
        level="fail",
        got=got,
        expected=f"at most {1e3 * limit_s:g} ms",
        next_command="use a wired network between the two hosts, or run on one",
    )


def check_arm(evidence: Evidence) -> Finding:
    """Is the arm in order?"""
    name = "arm"
    told = evidence.arm_mode + (f" ({evidence.arm_reason})" if evidence.arm_reason else "")
    if evidence.arm_mode in ("follow", "hold", "idle", "stopping", "shutdown"):
        return ok(name, told)
    return Finding(
        check=name,
        level="fail",
        got=told or "unknown",
        expected="an arm without a fault",
        next_command="dvla-arm state; read the events of note in the shadow run's report",
    )


def check_arm_limits(evidence: Evidence) -> Finding:
    """Are the limits within their own bounds, and the overrides still allowed?"""
    name = "limits"
    try:
        check_limits(evidence.limits)
    except ConfigError as error:
        return Finding(check=name, level="fail", got=str(error), expected="limits within bounds")
    expired = [override for override, left_s in evidence.overrides.items() if left_s <= 0.0]
    if expired:
        return Finding(
            check=name,
            level="fail",
            got=f"expired overrides: {', '.join(expired)}",
            expected="none, or renewed ones",
            next_command="take them out of the configuration, or renew them on purpose",
        )
    if evidence.overrides:
        told = ", ".join(f"{n} for {s / 60:.0f} min" for n, s in evidence.overrides.items())
        return Finding(
            check=name, level="warn", got=f"widened limits: {told}", expected="the shipped limits"
        )
    return ok(name, "the shipped ones, within their bounds")
