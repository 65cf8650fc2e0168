"""``dvla-bench``: measure latency, loops and streams, alone and closed."""

from __future__ import annotations

import os
import sys

import msgspec
import tyro

from dvla.benchmarks import commands, report_commands
from dvla.benchmarks.dom.command import dom
from dvla.benchmarks.faults.command import faults
from dvla.benchmarks.servo import commands as servo_commands
from dvla.engines.cli_errors import run_main


def about() -> None:
    """Print what this machine is, as every report records it."""
    from dvla.benchmarks.report.machine import describe_bench_machine

    print(msgspec.json.format(msgspec.json.encode(describe_bench_machine()), indent=1).decode())


def _body() -> int | None:
    code = tyro.extras.subcommand_cli_from_dict(
        {
            "latency": commands.latency,
            "servo": commands.servo,
            "beside": servo_commands.beside,
            "stalls": servo_commands.stalls,
            "stream": commands.stream,
            "compare": report_commands.compare,
            "report": report_commands.report,
            "all": commands.everything,
            "dom": dom,
            "faults": faults,
            "machine": about,
        },
        prog="dvla-bench",
        description="Measure; every report names the machine, the command and what was computed.",
    )
    return code if isinstance(code, int) else None


def main() -> None:
    """Run ``dvla-bench``."""
    # Threads of torch that spin at every barrier would take the cores from the subject that runs
    # next. OpenMP reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run_main(_body))


if __name__ == "__main__":
    main()
