"""From flags to a measured report of latency: what the commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dvla.benchmarks.report.schema import BenchReport
from dvla.benchmarks.session import Session, say

if TYPE_CHECKING:
    from dvla.benchmarks.fixtures import Subject
    from dvla.benchmarks.latency.measure import LatencyOptions


def run_latency(
    bundle: Path | None,
    synthetic: str | None,
    checkpoint: Path | None,
    options: LatencyOptions,
) -> BenchReport:
    """Measure latency and return the report."""
    session = Session(latency_command(bundle, synthetic, options))
    subject = prepared(bundle, synthetic, checkpoint, options)
    session.restart_meter()
    return session.finish(measured_latency(subject, options))


def prepared(
    bundle: Path | None,
    synthetic: str | None,
    checkpoint: Path | None,
    options: LatencyOptions,
) -> Subject:
    """Return what is measured; everything that the user can have got wrong is found here."""
    from dvla.benchmarks.fixtures import find_subject
    from dvla.benchmarks.latency.measure import check_peers, check_source

    subject = find_subject(bundle, synthetic, options.backends, say)
    if checkpoint is not None:
        subject = msgspec.structs.replace(subject, checkpoint=checkpoint)
    check_peers(options.peers, subject)
    if checkpoint is not None:  # The synthetic one is what its bundle was just made of.
        check_source(subject)
    return subject


def measured_latency(
    subject: Subject, options: LatencyOptions
) -> Callable[[BenchReport], BenchReport]:
    """Probe the device, measure, and return what adds the results to a report."""
    from dvla.benchmarks.latency.measure import measure_latency
    from dvla.benchmarks.report.device import probe_device

    device = probe_device(options.threads)
    fixture, found = measure_latency(subject, options, say)
    return lambda head: msgspec.structs.replace(head, fixture=fixture, device=device, latency=found)


def latency_command(bundle: Path | None, synthetic: str | None, options: LatencyOptions) -> str:
    """Return the command that measures the same again, without paths of this machine."""
    what = f"--synthetic {synthetic}" if bundle is None else bundle.name
    parts = [f"dvla-bench latency {what} --backend {' '.join(options.backends)}"]
    if options.peers:
        parts.append(f"--peer {' '.join(options.peers)}")
    parts.append(f"--rounds {options.rounds} --warm-up {options.warm_up_rounds}")
    parts.append(f"--cold-starts {options.cold_starts} --threads {options.threads}")
    return " ".join(parts)
