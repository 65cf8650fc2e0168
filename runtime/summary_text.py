"""The summary for people: rows of label and value, as a table or as plain lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dvla.runtime.percentiles import Percentiles
from dvla.runtime.prediction import PredictionErrors
from dvla.runtime.summary import RunSummary

if TYPE_CHECKING:
    from rich.console import RenderableType

Section = tuple[str, list[tuple[str, str]]]


def spread(value: Percentiles | None, factor: float, unit: str, digits: int = 1) -> str:
    """Return "p50 1.0 · p95 2.0 · p99 3.0 · max 4.0 ms", or a dash."""
    if value is None:
        return "–"
    parts = {"p50": value.p50, "p95": value.p95, "p99": value.p99, "max": value.max}
    told = (f"{name} {factor * sample:.{digits}f}" for name, sample in parts.items())
    return f"{' · '.join(told)} {unit}"


def share(value: float | None, digits: int = 1) -> str:
    """Return a share as a percentage, or a dash."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def by_reason(counts: Mapping[str, int], none: str = "none") -> str:
    """Return "late 3, stale 1"."""
    return ", ".join(f"{reason} {count}" for reason, count in counts.items()) or none


def verdict(summary: RunSummary) -> str:
    """Say in one sentence how the run went."""
    after = f"in {summary.duration_s:.1f} s"
    if not summary.began:
        return f"The run ended after {summary.duration_s:.1f} s, before the policy began."
    if summary.attempts:
        what = f"Caught {summary.caught} of {summary.attempts} objects"
    elif not summary.actions_executed:
        return f"The arm was never moved by the policy {after}."
    elif summary.manifest.shadow:
        what = f"{summary.actions_executed} actions came into force and moved nothing"
    else:
        what = f"Executed {summary.actions_executed} actions"
    accepted = summary.acceptance_share
    tail = "" if accepted is None else f"; the gate accepted {share(accepted)} of the commands"
    return f"{what} {after}{tail}."


def outcome(summary: RunSummary) -> str:
    """Say what became of the episodes, where somebody judges that."""
    if summary.attempts:
        judged = f"{summary.caught} caught of {summary.attempts}"
        return f"{judged} ({by_reason(summary.outcomes, '–')})"
    if summary.manifest.sim:
        return "none ended"
    return "not judged: only a twin sees what became of its object"


def _prediction(errors: PredictionErrors) -> list[tuple[str, str]]:
    """Return the rows of a replay: all steps, and the first and the last of the horizon."""
    rows = [
        ("chunks compared", str(errors.chunks)),
        ("position error", spread(errors.position_m, 1e3, "mm")),
        ("rotation error", spread(errors.rotation_rad, 57.29577951308232, "deg")),
        ("gripper as recorded", share(errors.gripper_share)),
        ("standing still instead", spread(errors.standing_m, 1e3, "mm")),
    ]
    if errors.invalid:
        rows.insert(1, ("chunks that hold no numbers", str(errors.invalid)))
    for step in errors.steps[:1] + errors.steps[-1:]:
        rows.append((f"position, step {step.index}", spread(step.position_m, 1e3, "mm")))
    return rows


def sections(summary: RunSummary) -> list[Section]:
    """Return the summary's rows, grouped."""
    s = summary
    predicted = [("Predicted and recorded", _prediction(s.prediction))] if s.prediction else []
    first = "–" if s.first_action_s is None else f"{s.first_action_s:.2f} s after the start"
    period_ms = 1e3 / s.manifest.servo_rate_hz
    delays = [f"{name} {1e3 * delay_s:.0f} ms" for name, delay_s in s.manifest.delays_s.items()]
    return [
        *predicted,
        (
            "Rates",
            [
                ("replan_hz", f"{s.replan_hz:.2f} chunks/s"),
                ("action_hz", f"{s.action_hz:.1f} actions/s (H = {s.manifest.chunk_size})"),
                ("dispatch_hz", f"{s.dispatch_hz:.1f} commands/s"),
                ("first action", first),
            ],
        ),
        (
            "Time",
            [
                ("inference", spread(s.inference_s, 1e3, "ms")),
                ("observation age at dispatch", spread(s.observation_age_s, 1e3, "ms", 0)),
                ("servo lateness", spread(s.lateness_s, 1e3, "ms", 2)),
                ("servo work of a period", f"{spread(s.busy_s, 1e3, 'ms', 2)} of {period_ms:g} ms"),
                ("servo overruns", f"{s.overruns} of {s.servo_ticks} ticks"),
                *([("delays taken off", ", ".join(delays))] if delays else []),
            ],
        ),
        (
            "Chunks and actions",
            [
                ("chunks merged", f"{s.merged} of {s.chunks}"),
                ("chunks discarded", by_reason(s.discarded)),
                ("actions executed", str(s.actions_executed)),
                ("actions stale", str(s.actions_stale)),
                ("actions overridden", str(s.actions_overridden)),
                ("actions cleared · pending", f"{s.actions_cleared} · {s.actions_pending}"),
                ("underruns", str(s.underruns)),
                ("too slow · holds", f"{s.too_slow} · {s.holds}"),
            ],
        ),
        (
            "Motion",
            [
                ("seam jump", spread(s.seam_m, 1e3, "mm")),
                ("step inside the chunks", spread(s.in_chunk_m, 1e3, "mm")),
                ("seam alarms", str(s.seam_alarms)),
                ("saturated ticks", share(s.saturated_share)),
                ("tracking error", spread(s.tracking_m, 1e3, "mm")),
                ("peak speed", "–" if s.peak_speed_m_s is None else f"{s.peak_speed_m_s:.2f} m/s"),
            ],
        ),
        (
            "Arm",
            [
                ("commands accepted", f"{s.accepted} ({share(s.acceptance_share)})"),
                ("commands rejected", by_reason(s.rejected)),
                ("plans taken back · stops", f"{s.taken_back} · {s.arm_stops}"),
                ("episodes", outcome(s)),
                ("processes", by_reason(s.pids, "–")),
            ],
        ),
    ]


def summary_text(summary: RunSummary) -> str:
    """Return the summary as plain text."""
    lines = [f"{summary.folder}: {verdict(summary)}"]
    for title, rows in sections(summary):
        lines.append(f"{title}:")
        lines += [f"  {label:28}{value}" for label, value in rows]
    lines += [f"note: {problem}" for problem in summary.problems]
    return "\n".join(lines)


def summary_table(summary: RunSummary) -> RenderableType:
    """Return the summary for a terminal."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for title, rows in sections(summary):
        table.add_row(Text(title, style="bold not dim cyan"), "")
        for label, value in rows:
            table.add_row(f"  {label}", Text(value))
        table.add_section()
    problems = [Text(f"! {problem}", style="yellow") for problem in summary.problems]
    headline = Text.assemble((verdict(summary), "bold"), f"\n{summary.folder}")
    return Group(headline, table, *problems)
