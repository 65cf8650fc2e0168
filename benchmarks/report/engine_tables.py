"""Tables of the CPU engines: latency, precisions, options, int8; made from the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from dvla.benchmarks.latency.int8 import Int8Report
from dvla.benchmarks.report.markdown import said, table
from dvla.benchmarks.report.schema import (
    DENOISE,
    END_TO_END,
    VISION_PREFIX,
    BenchReport,
    Timing,
)

ENGINE_NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def latency(results: Path, file: str) -> str:
    """Return the table of a report of ``dvla-bench latency`` on a CPU, full size."""
    report = msgspec.json.decode((results / file).read_bytes(), type=BenchReport)
    assert report.latency is not None  # It is a report of latency.
    ratios = {c.subject: c for c in report.latency.comparisons if c.quantity == END_TO_END}
    rows = []
    for each in report.latency.subjects:
        timings, ratio = each.timings, ratios.get(each.name)
        starts = sorted(start.first_chunk_s for start in each.cold_starts)
        resident = max((start.resident_peak_bytes for start in each.cold_starts), default=0)
        rate = each.work[END_TO_END].flops / timings[END_TO_END].spread_s.p50 / 1e9
        rows.append(
            (
                f"{ENGINE_NAMES.get(each.name, each.name)} {each.precision}",
                _part_medians(timings),
                f"{timings[END_TO_END].spread_s.p50:.2f}",
                f"{timings[END_TO_END].spread_s.p99:.2f}",
                f"{rate:.0f}",
                f"**{ratio.speedup:.2f}** ({ratio.low:.2f} to {ratio.high:.2f})" if ratio else "1",
                f"{starts[len(starts) // 2]:.1f}, {resident / 1e9:.2f}" if starts else "",
            )
        )
    heads = (
        "full size", "vision + prefix, denoise p50 [s]", "end to end p50 [s]", "p99 [s]",
        "GFLOP/s", "times as fast (95 %)", "cold start [s], memory [GB]",
    )  # fmt: skip
    said = f"`{report.command}`: {report.machine.base.cpu}, {report.machine.base.cores} cores. "
    return f"{table(heads, rows)}\n{said}{report.activity.text}\n"


def _part_medians(timings: dict[str, Timing]) -> str:
    """Return the medians of both graphs [s], or that engines which run as one have none."""
    own = [timings[part].spread_s.p50 for part in (VISION_PREFIX, DENOISE) if part in timings]
    return _joined(*own)


def _joined(*parts_s: float | None) -> str:
    known = [f"{part_s:.2f}" for part_s in parts_s if part_s is not None]
    return ", ".join(known) or "–"


def engines_cpu(results: Path, file: str) -> str:
    """Return the table of the CPU engines and precisions beside eager torch."""
    found = _plain(results / file)["engines"]
    rows = []
    for group, subjects in found.items():
        eager = subjects["eager"]
        for name, own in subjects.items():
            if name == "eager":
                continue
            label = f"{ENGINE_NAMES[name]} {group}".replace("OpenVINO p", "OpenVINO, p")
            rows.append(
                (
                    label.replace("OpenVINO d", "OpenVINO, d"),
                    _joined(own.get("prefix_p50_s"), own.get("denoise_p50_s")),
                    f"{own['end_to_end_s']['p50']:.2f}",
                    f"{eager['end_to_end_s']['p50']:.2f}, {eager['gflop_per_s_at_min']:.0f}",
                    f"{own['times_as_fast_p50']:.2f}",
                    f"{own['error_in_deviations_p99']:.2g}",
                )
            )
    heads = (
        "engine", "prefix, denoise p50 [s]", "end to end p50 [s]", "eager p50 [s], best GFLOP/s",
        "times as fast", "p99 error over all columns, in deviations",
    )  # fmt: skip
    return table(heads, rows)


def engines_cpu_options(results: Path) -> str:
    """Return the table of OpenVINO's options, one at a time."""
    found = _plain(results / "engines-cpu-xeon-amx.json")["options"]
    rows = [
        (
            name,
            f"{pair[name]['times_as_fast_p50']:.2f}",
            f"{pair[name]['times_as_fast_of_minima']:.2f}",
        )
        for name, pair in found.items()
    ]
    return table(("option", "times as fast, median of turns", "of the fastest runs"), rows)


def int8(results: Path) -> str:
    """Return the table of engines with int8 weights beside float32."""
    report = msgspec.json.decode((results / "int8-full-cpu.json").read_bytes(), type=Int8Report)
    rows = []
    for each in report.engines:
        ratio = each.comparison
        rows.append(
            (
                ENGINE_NAMES.get(each.backend, each.backend),
                " and ".join(each.graphs),
                f"{ratio.speedup:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
                f"{each.worst_p99:.3f}",
                "passed" if each.verification.passed else "refused",
            )
        )
    heads = (
        "engine", "int8 weights of", "times as fast as fp32 (95 %)",
        "worst column's p99 error, in deviations", "gate",
    )  # fmt: skip
    return f"{table(heads, rows)}\n{said(report.command, report.machine)}"


def _plain(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return found
