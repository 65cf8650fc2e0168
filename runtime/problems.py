"""What a person should know about a run, in sentences with a next step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvla.runtime.summary import RunSummary

MIN_ACCEPTANCE_SHARE = 0.95
MAX_SATURATED_SHARE = 0.2
MIN_DISPATCH_SHARE = 0.95


def problems_of(summary: RunSummary, warnings: Sequence[str]) -> Iterator[str]:
    """Yield the problems of a run, the gravest first; nothing for a run as it should be."""
    yield from _no_motion(summary)
    yield from _slow(summary)
    yield from _arm(summary)
    yield from _host(summary)
    yield from warnings


def _no_motion(summary: RunSummary) -> Iterator[str]:
    if not summary.began:
        ending = summary.manifest.ending or "it was killed, or nobody followed it"
        yield f"The run ended before the policy began: {ending.rstrip('.')}."
    elif not summary.inferences:
        yield "No inference ever began: the policy had no complete observation, or did not start."
    elif not summary.chunks:
        yield "No chunk ever arrived: the run ended before the first inference did."
    elif not summary.actions_executed:
        yield "No action ever came into force: the arm was never moved by the policy."


def _slow(summary: RunSummary) -> Iterator[str]:
    manifest = summary.manifest
    budget_s = manifest.chunk_size * manifest.control_period_s
    if summary.too_slow and summary.inference_s is not None:
        yield (
            f"The policy is too slow for this robot: inference takes "
            f"{summary.inference_s.p50:.2f} s (p50), while a chunk lasts {budget_s:.2f} s, so that "
            "its actions are stale when they arrive. Use a faster backend or device."
        )
    if summary.underruns:
        yield (
            f"The timeline ran dry {_times(summary.underruns)}: no chunk came in time, so the arm "
            "stopped smoothly and waited for the next one."
        )
    if summary.seam_alarms:
        yield (
            f"{summary.seam_alarms} seams jumped far more than the chunks' own steps; "
            "--seam blend softens them."
        )


def _arm(summary: RunSummary) -> Iterator[str]:
    share = summary.acceptance_share
    if share is not None and share < MIN_ACCEPTANCE_SHARE:
        reasons = ", ".join(f"{reason} {count}" for reason, count in summary.rejected.items())
        yield f"The arm accepted only {100 * share:.1f} % of the commands ({reasons})."
    if summary.saturated_share is not None and summary.saturated_share > MAX_SATURATED_SHARE:
        yield (
            f"The shaper was at its limits in {100 * summary.saturated_share:.0f} % of the ticks: "
            "the policy asks for more than the arm's limits allow."
        )


def _host(summary: RunSummary) -> Iterator[str]:
    wanted_hz = summary.manifest.servo_rate_hz
    if summary.servo_ticks > 10 and summary.dispatch_hz < MIN_DISPATCH_SHARE * wanted_hz:
        cause = "the host is too busy for the servo" if summary.overruns else "the arm had stopped"
        yield (
            f"Commands went out at {summary.dispatch_hz:.0f} Hz instead of {wanted_hz:.0f} Hz "
            f"({summary.overruns} overruns): {cause}."
        )
    machine = summary.manifest.machine
    if machine.load_1m > machine.cores:
        yield (
            f"The machine was busy with other work (load {machine.load_1m:.1f} on "
            f"{machine.cores} cores): its timings are not the machine's."
        )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
