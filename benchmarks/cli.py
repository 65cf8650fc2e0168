"""``dvla-bench``: measure latency, loops and streams, alone and closed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import tyro

from dvla.benchmarks import commands, report_commands
from dvla.benchmarks.faults.command import faults
from dvla.engines.cli_errors import run_main
from dvla.engines.errors import UsageError
from dvla.runtime.config import SchedulerConfig, SeamMode


def dom(
    policy: str = "oracle",
    robot: str = "franka",
    task: str = "",
    latency_ms: float = 200.0,
    latency_spread: float = 0.0,
    ci: bool = True,
    laas: bool = True,
    seam: SeamMode = "switch",
    trials: int = 100,
    first_seed: int = 20_000,
    workers: int = 2,
    out: Path = Path("dom.json"),
    json: bool = False,
    debug: bool = False,
) -> None:
    """Catch moving objects on the simulated arm, under a virtual clock with injected latency.

    Args:
        policy: "oracle", or the folder of a bundle.
        robot: Whose limits the gate enforces.
        task: Draw only the objects that it names, as in "pick up the red can".
        latency_ms: Injected inference latency (median) [ms].
        latency_spread: Standard deviation of the latency's logarithm; 0 makes it constant.
        ci: Continuous inference.
        laas: Latency-aware action streaming.
        seam: How one chunk takes over from another; rtc guides a network by the previous chunk.
        trials: Episodes.
        first_seed: Seed of the first episode; the others follow.
        workers: Processes.
        out: Where the report goes; an interrupted run goes on from the episodes beside it.
        json: Print the report's summary as JSON.
        debug: Show tracebacks.
    """
    from dvla.benchmarks.dom.campaign import Cell, run_campaign
    from dvla.benchmarks.dom.latency import Latency
    from dvla.benchmarks.dom.result import CellConfig, EpisodeResult
    from dvla.benchmarks.dom.table import campaign_table
    from dvla.runtime.robots import robot_with_twin
    from dvla.runtime.twin.dependencies import import_mink, import_mujoco
    from dvla.runtime.twin.objects import parse_task

    del debug  # read from the command line where the errors are told
    for name, value in (("--trials", trials), ("--workers", workers)):
        if value < 1:
            raise UsageError(f"{name} is out of bounds", got=value, expected="at least 1")
    if policy == "oracle" and seam == "rtc":
        raise UsageError(
            "--seam rtc guides the sampling of a network; the oracle samples nothing",
            expected="--seam switch or --seam blend with --policy oracle",
        )
    if not 0 <= latency_ms <= 10_000:
        raise UsageError("--latency-ms is out of bounds", got=latency_ms, expected="0 to 10000 ms")
    robot_with_twin(robot)
    if task:
        parse_task(task)
    import_mujoco()
    import_mink()
    cell = Cell(
        config=CellConfig(
            policy=policy,
            robot=robot,
            task=task,
            latency=Latency(median_ms=latency_ms, spread=latency_spread),
            scheduler=SchedulerConfig(ci=ci, laas=laas, seam=seam),
        ),
        first_seed=first_seed,
        trials=trials,
    )
    done = 0

    def progress(result: EpisodeResult) -> None:
        nonlocal done
        done += 1
        if not json:
            print(
                f"{done:4d}  seed {result.seed}  {result.kind:4s} {result.speed:.2f} m/s  "
                f"{result.outcome} after {result.completion_s:.1f} s",
                file=sys.stderr,
            )

    command = _command(cell, workers)
    report = run_campaign(cell, out, workers=workers, command=command, progress=progress)
    if json:
        summary = msgspec.to_builtins(report)
        del summary["episodes"]
        print(msgspec.json.encode(summary).decode())
    else:
        print(campaign_table(report))
        print(f"report: {out}")


def _command(cell: object, workers: int) -> str:
    """Return the command that makes the same report again, without paths of this machine."""
    from dvla.benchmarks.dom.campaign import Cell

    assert isinstance(cell, Cell)
    config = cell.config
    name = config.policy if config.policy == "oracle" else Path(config.policy).name
    parts = [f"dvla-bench dom --policy {name} --robot {config.robot}"]
    if config.task:
        parts.append(f'--task "{config.task}"')
    parts.append(f"--latency-ms {config.latency.median_ms:g}")
    if config.latency.spread:
        parts.append(f"--latency-spread {config.latency.spread:g}")
    parts.append("--ci" if config.scheduler.ci else "--no-ci")
    parts.append("--laas" if config.scheduler.laas else "--no-laas")
    if config.scheduler.seam != "switch":
        parts.append(f"--seam {config.scheduler.seam}")
    parts.append(f"--trials {cell.trials} --first-seed {cell.first_seed} --workers {workers}")
    return " ".join(parts)


def about() -> None:
    """Print what this machine is, as every report records it."""
    from dvla.benchmarks.report.machine import describe_bench_machine

    print(msgspec.json.format(msgspec.json.encode(describe_bench_machine()), indent=1).decode())


def _body() -> int | None:
    code = tyro.extras.subcommand_cli_from_dict(
        {
            "latency": commands.latency,
            "servo": commands.servo,
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
