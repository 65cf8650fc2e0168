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
    """Parse the flags; ``--config FILE`` or ``--config=FILE`` gives their defaults.

    Raises:
        UsageError: --config without a file.
        ConfigError: the file cannot be used.
    """
    argv = list(argv)
    file = _take_config(argv)
    default = RunConfig() if file is None else load_run_config(file)
    return tyro.cli(
        RunConfig,
        args=argv,
        prog="dvla-run",
        default=default,
        description=f"{RunConfig.__doc__}\n\n--config FILE.yaml gives the defaults of all flags.",
    )


def _take_config(argv: list[str]) -> Path | None:
    """Take the configuration file out of the words, and return it where there is one."""
    for at, word in enumerate(argv):
        flag, equals, file = word.partition("=")
        if flag != "--config":
            continue
        if not equals:
            file = "".join(argv[at + 1 : at + 2])
        if not file:
            raise UsageError("--config needs a file", next_command="dvla-run --config run.yaml")
        del argv[at : at + (1 if equals else 2)]
        return Path(file)
    return None


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
