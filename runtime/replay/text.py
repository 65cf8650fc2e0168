"""Replays in words."""

from __future__ import annotations

from dvla.runtime.percentiles import Percentiles
from dvla.runtime.replay.exact import ExactReplay
from dvla.runtime.replay.what_if import Outcome, WhatIf


def exact_text(replay: ExactReplay) -> str:
    """Say stage by stage whether every decision came out again."""
    lines = [f"{replay.run}: {replay.chunks} chunks replayed"]
    lines += [f"  warning    {warning}" for warning in replay.warnings]
    for stage in replay.stages:
        if stage.left_out:
            lines.append(f"  {stage.stage:10s} left out: {stage.left_out}")
        elif stage.equal:
            until = " until the recording was cut off" if stage.cut_off else ""
            lines.append(f"  {stage.stage:10s} {stage.compared} decisions, bit-equal{until}")
        elif stage.missing:
            lines.append(f"  {stage.stage:10s} cannot go on: {stage.missing}")
        elif stage.difference is not None:
            found = stage.difference
            lines.append(
                f"  {stage.stage:10s} decision {found.index} at {found.t_ns} ns differs in "
                f"{found.what}: recorded {found.recorded}, replayed {found.replayed}"
            )
    return "\n".join(lines)


def what_if_text(result: WhatIf) -> str:
    """Return a table of what changes."""
    changed = ", ".join(f"{name} = {value}" for name, value in result.changed.items())
    rows = [("", "as recorded", changed)]
    rows += [
        (name, one, other)
        for (name, one), (_, other) in zip(_rows(result.before), _rows(result.after), strict=True)
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{result.run}: the same chunks under other switches"]
    for name, one, other in rows:
        mark = "  *" if name and one != other else ""
        lines.append(f"  {name:{widths[0]}s}  {one:{widths[1]}s}  {other}{mark}")
    return "\n".join([*lines, *(f"note: {note}" for note in result.notes)])


def _rows(outcome: Outcome) -> list[tuple[str, str]]:
    counters, motion = outcome.counters, outcome.motion
    discarded = ", ".join(f"{why} {n}" for why, n in sorted(counters.chunks_discarded.items()))
    rejected = ", ".join(f"{why} {n}" for why, n in sorted(motion.rejected.items()))
    return [
        ("chunks merged", str(counters.chunks_merged)),
        ("chunks discarded", discarded or "none"),
        ("actions executed", str(counters.actions_executed)),
        ("actions stale", str(counters.actions_stale)),
        ("actions overridden", str(counters.actions_overridden)),
        ("underruns", str(counters.underruns)),
        ("too slow", str(outcome.too_slow)),
        ("age of the action in force", _spread(outcome.age_s, 1e3, "ms")),
        ("seam jump", _spread(outcome.seam_m, 1e3, "mm")),
        ("seam turn", _spread(outcome.seam_rad, 57.29577951308232, "deg")),
        ("saturated servo ticks", f"{motion.saturated} of {motion.ticks}"),
        ("commands accepted", str(motion.accepted)),
        ("commands rejected", rejected or "none"),
        ("tool speed", _spread(motion.speed_m_s, 1.0, "m/s")),
    ]


def _spread(value: Percentiles | None, factor: float, unit: str) -> str:
    if value is None:
        return "-"
    p50, p95, top = (factor * x for x in (value.p50, value.p95, value.max))
    digits = 2 if unit == "m/s" else 1
    return f"p50 {p50:.{digits}f}, p95 {p95:.{digits}f}, max {top:.{digits}f} {unit}"
