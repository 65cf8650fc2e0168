"""``dvla-replay``: a recorded run again, exactly or under other switches."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import tyro

from dvla.engines.cli_errors import run_main


def replay(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    set: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    json: bool = False,
    debug: bool = False,
) -> int:
    """Run scheduler, servo and safety gate again on what they were told in a recorded run.

    Without --set every decision must come out again, bit by bit: exit code 1 otherwise, with the
    first difference named. With --set the same chunks go through with other switches.

    Args:
        run: Run folder, such as runs/20260102T030405Z-franka-sim.
        set: A switch of the scheduler and its value, as in --set laas=false --set seam=blend.
        json: Print the result as JSON.
        debug: Show tracebacks.
    """
    del debug  # read from the command line where the errors are told
    from dvla.runtime.replay.exact import replay_exactly
    from dvla.runtime.replay.text import exact_text, what_if_text
    from dvla.runtime.replay.what_if import what_if
    from dvla.runtime.run_data import load_run

    if set:
        result = what_if(load_run(run, calls=True), set)
        print(msgspec.json.encode(result).decode() if json else what_if_text(result))
        return 0
    exact = replay_exactly(run)
    print(msgspec.json.encode(exact).decode() if json else exact_text(exact))
    return 0 if exact.equal else 1


def main() -> int:
    """Entry point of ``dvla-replay``."""
    return run_main(lambda: tyro.cli(replay, prog="dvla-replay"))


if __name__ == "__main__":
    sys.exit(main())
