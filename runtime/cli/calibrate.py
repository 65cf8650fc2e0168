"""``dvla-calibrate``: measure what a set-up does, and keep it for its runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import tyro

from dvla.engines.cli_errors import run_main


def latency(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    out: Path = Path("latency.json"),
    json: bool = False,
    debug: bool = False,
) -> int:
    """Find the delays of the arm and of every camera in a recorded run, by correlation.

    The run is one of dvla-run --mcap --policy stop-and-go, or any in which the arm moved back and
    forth and little else did. Commanded motion is laid over measured motion, and measured motion
    over what changes in the pictures. A poor correlation is refused, and so is a run whose host was
    too busy. dvla-run --latency FILE then dates commands and pictures by it.

    Args:
        run: Run folder, such as runs/20260102T030405Z-franka-sim.
        out: Where the result goes.
        json: Print it as JSON.
        debug: Show tracebacks.
    """
    del debug  # read from the command line where the errors are told
    from dvla.runtime.latency_set_up import measure, write_set_up
    from dvla.runtime.output_path import check_output

    check_output("--out", out)
    found = measure(run)
    write_set_up(out, found)
    if json:
        print(msgspec.json.encode(found).decode())
        return 0
    for name, delay in (("arm", found.actuation), *sorted(found.cameras.items())):
        injected_ms = found.injected_ms.get("arm" if name == "arm" else "camera", 0.0)
        print(
            f"{name}: {1e3 * delay.delay_s:.1f} ms +- {1e3 * delay.bound_s:.1f} ms "
            f"(correlation {delay.correlation:.2f} over {delay.intervals} intervals, "
            f"{delay.steady:.0%} of the time)"
            + (f"; {injected_ms:g} ms of it were injected" if injected_ms else "")
        )
    for name, why in found.refused.items():
        print(f"{name}: not told. {why}")
    print(f"kept in {out}; use it with dvla-run --latency {out}")
    return 1 if found.refused else 0


def main() -> int:
    """Entry point of ``dvla-calibrate``."""
    return run_main(
        lambda: tyro.extras.subcommand_cli_from_dict({"latency": latency}, prog="dvla-calibrate")
    )


if __name__ == "__main__":
    sys.exit(main())
