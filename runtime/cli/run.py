"""``dvla-run``: close the loop of a policy with an arm, or with its digital twin."""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from dvla.engines.cli_errors import run_main
from dvla.engines.errors import UsageError
from dvla.runtime.run_check import check
from dvla.runtime.run_config import RunConfig, load_run_config


def parse(argv: list[str]) -> RunConfig:
    """Parse the flags; ``--config FILE`` gives their defaults.

    Raises:
        UsageError: --config without a file.
        ConfigError: the file cannot be used.
    """
    argv = list(argv)
    default = RunConfig()
    if "--config" in argv:
        at = argv.index("--config")
        if at + 1 >= len(argv):
            raise UsageError("--config needs a file", next_command="dvla-run --config run.yaml")
        default = load_run_config(Path(argv[at + 1]))
        del argv[at : at + 2]
    return tyro.cli(
        RunConfig,
        args=argv,
        prog="dvla-run",
        default=default,
        description=f"{RunConfig.__doc__}\n\n--config FILE.yaml gives the defaults of all flags.",
    )


def run() -> int:
    """Run and return the exit code."""
    config = parse(sys.argv[1:])
    robot = check(config)
    from dvla.runtime.run import run_loop  # needs compiled extensions; --help does not

    return run_loop(config, robot)


def main() -> None:
    """Entry point of ``dvla-run``."""
    sys.exit(run_main(run))


if __name__ == "__main__":
    main()
