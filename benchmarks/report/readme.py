"""The measured tables of the documentation, made from the committed results and never typed.

``python -m dvla.benchmarks.report.readme`` rewrites them between their markers; ``--check`` says
whether they are what the results say.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import tyro

from dvla.benchmarks.latency.cold_cache import STORED, ColdCacheReport
from dvla.benchmarks.latency.gpu.schema import GpuReport, GpuSubject
from dvla.benchmarks.latency.gpu.subjects import SUBJECTS
from dvla.benchmarks.latency.rewrites import RewritesReport
from dvla.benchmarks.report.dimension_tables import (
    caught,
    dimensions,
    dimensions_by_speed,
    training_seeds,
)
from dvla.benchmarks.report.engine_tables import (
    ENGINE_NAMES,
    engines_cpu,
    engines_cpu_options,
    int8,
    latency,
)
from dvla.benchmarks.report.markdown import said, table
from dvla.benchmarks.report.policy_tables import overview, policies
from dvla.benchmarks.report.servo_tables import beside, servo, stalls
from dvla.engines.cli_errors import run_main
from dvla.engines.errors import DvlaError, UsageError

DOCUMENTS = (
    "README.md",
    "engines/README.md",
    "benchmarks/README.md",
    "docs/recording.md",
    "docs/nano.md",
)
RESULTS = "benchmarks/results"
_BLOCK = re.compile(r"<!-- measured: ([\w-]+) -->\n(.*?)<!-- /measured -->", re.DOTALL)
# TensorRT-RTX compiled those graphs on a CPU; nothing else was compiled for a GPU.
COMPILED, NOT_RUN = "compiled, not run", "not run"


class OutOfDate(DvlaError):
    """A table of the documentation is not what the results say."""

    exit_code = 1


def gpu(results: Path) -> str:
    """Return the table of GPUs: what was measured, or that nothing has run yet."""
    heads = (
        "GPU", "subject", "end to end p50, p99 [ms]", "replans/s", "times eager fp32",
        "kernels by part", "error of the actions", "peak memory [GB]",
    )  # fmt: skip
    rows = []
    for path in sorted(results.glob("gpu-*.json")):
        report = msgspec.json.decode(path.read_bytes(), type=GpuReport)
        rows += [gpu_row(report, subject) for subject in report.subjects]
    rows = rows or [
        ("none yet", name, COMPILED if name.startswith("tensorrt") else NOT_RUN, *[""] * 5)
        for name in SUBJECTS
    ]
    return table(heads, rows)


def gpu_row(report: GpuReport, subject: GpuSubject) -> tuple[str, ...]:
    """Return the row of one subject on one GPU."""
    spread_s, ratio = subject.spread_s, report.times_as_fast.get(subject.name)
    if spread_s is None:
        return (report.device, subject.name, subject.status, *[""] * 5)
    error = subject.relative_error
    return (
        report.device,
        subject.name,
        f"{spread_s.p50 * 1e3:.2f}, {spread_s.p99 * 1e3:.2f}",
        f"{subject.replan_hz:.0f}",
        f"{ratio:.1f}" if ratio else "",
        ", ".join(f"{name} {part.kernels}" for name, part in subject.parts.items()),
        f"{error:.1e}" if error is not None else "",
        f"{subject.device_peak_bytes / 1e9:.2f}",
    )


def cold_start(results: Path) -> str:
    """Return the table of cold starts with and without the stored graphs."""
    path = results / "cold-start-full-cpu.json"
    if not path.is_file():
        return "Not measured yet: `python -m dvla.benchmarks.latency.cold_cache BUNDLE`.\n"
    report = msgspec.json.decode(path.read_bytes(), type=ColdCacheReport)
    rows = []
    for backend, kinds in report.starts.items():
        for kind, starts in kinds.items():
            median = [
                sorted(getattr(each, field) for each in starts)[len(starts) // 2]
                for field in (
                    "first_chunk_s", "cpu_s", "resident_peak_bytes", "anonymous_bytes",
                    "resident_bytes",
                )
            ]  # fmt: skip
            first_s, cpu_s, peak, private, resident = median
            stored = report.stored_bytes[backend] if kind == STORED else 0
            rows.append(
                (
                    f"{ENGINE_NAMES.get(backend, backend)}, {kind}",
                    f"{first_s:.1f}, {cpu_s:.1f}",
                    f"{peak / 1e9:.2f}",
                    f"{private / 1e9:.2f}, {(resident - private) / 1e9:.2f}",
                    f"{report.bundle_bytes / 1e9:.2f} + {stored / 1e9:.2f}",
                    "yes" if report.bit_equal[backend] else "no",
                )
            )
    heads = (
        "engine", "to the first chunk: clock, processor time [s]", "peak memory [GB]",
        "private, mapped then [GB]", "bundle [GB]", "same bits",
    )  # fmt: skip
    return f"{table(heads, rows)}\n{said(report.command, report.machine)}"


def rewrites_table(results: Path) -> str:
    """Return the table of what each exact rewrite gives."""
    path = results / "rewrites-full-cpu.json"
    if not path.is_file():
        return "Not measured yet: `python -m dvla.benchmarks.latency.rewrites`.\n"
    report = msgspec.json.decode(path.read_bytes(), type=RewritesReport)
    rows = []
    for each in report.results:
        ratio = each.comparison
        rows.append(
            (
                each.name,
                "done" if each.done else "left out",
                ENGINE_NAMES.get(each.backend, each.backend),
                f"{each.saved_per_chunk_s * 1e3:.1f}",
                f"{ratio.speedup:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if ratio else "all",
            )
        )
    heads = ("rewrite", "", "engine", "saves of a chunk [ms]", "times as fast (95 %)")
    return f"{table(heads, rows)}\n{said(report.command, report.machine)}"


TABLES: dict[str, Callable[[Path], str]] = {
    "latency": partial(latency, file="latency-full-cpu.json"),
    "latency-amx": partial(latency, file="latency-full-xeon-amx.json"),
    "engines-cpu": partial(engines_cpu, file="engines-cpu-epyc.json"),
    "engines-cpu-amx": partial(engines_cpu, file="engines-cpu-xeon-amx.json"),
    "engines-cpu-options": engines_cpu_options,
    "int8": int8,
    "gpu": gpu,
    "cold-start": cold_start,
    "rewrites": rewrites_table,
    "servo": servo,
    "beside": beside,
    "stalls": stalls,
    "dimensions-oracle": partial(dimensions, folder="dimensions-oracle-200ms"),
    "nano": partial(overview, folder="nano"),
    "nano-beside": partial(
        policies,
        folders={
            "seed 7, which only catches": "nano-seeds/7",
            "before its last stretch": "nano-before",
            "`nano`": "nano",
        },
        last="`nano`",
        before="before its last stretch",
    ),
    "nano-reactivity": partial(caught, stem="nano/reactivity"),
    "nano-seeds": partial(training_seeds, stem="nano", shipped=15),
    "dimensions-nano": partial(dimensions, folder="nano/dimensions"),
    "dimensions-nano-speeds": partial(dimensions_by_speed, folder="nano/dimensions"),
}


def rewritten(text: str, results: Path) -> str:
    """Return a document with every marked table made anew.

    Raises:
        UsageError: a marker names no table.
    """

    def made(found: re.Match[str]) -> str:
        name = found[1]
        if name not in TABLES:
            raise UsageError("No such measured table", got=repr(name), choices=TABLES)
        return f"<!-- measured: {name} -->\n{TABLES[name](results)}<!-- /measured -->"

    return _BLOCK.sub(made, text)


def command(root: Path = Path(), check: bool = False) -> None:
    """Rewrite the measured tables of the documentation from the committed results.

    Args:
        root: of the repository.
        check: change nothing; exit 1 when a table is not what the results say.
    """
    for name in DOCUMENTS:
        path = root / name
        if not path.is_file():
            raise UsageError(f"There is no {path}", next_command="run in the repository's root")
        text = path.read_text()
        new = rewritten(text, root / RESULTS)
        if new == text:
            continue
        if check:
            raise OutOfDate(
                f"The measured tables of {name} are not what {RESULTS} says",
                next_command="python -m dvla.benchmarks.report.readme",
            )
        path.write_text(new)
        print(f"rewritten: {name}")


if __name__ == "__main__":
    sys.exit(run_main(lambda: tyro.cli(command, prog="python -m dvla.benchmarks.report.readme")))
