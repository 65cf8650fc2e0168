"""A command with some of its processes replaced: ``COMMAND --double arm=MODULE ...``.

COMMAND is ``run`` or ``arm``. The product has no switch for this: here the module that is started
is swapped.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar

from dvla.runtime.cli import arm, run
from dvla.runtime.processes import spawn

PREFIX = "dvla.runtime.processes."


class SwappedPopen(subprocess.Popen[bytes]):
    """Starts a double where one is named."""

    doubles: ClassVar[dict[str, str]] = {}

    def __init__(self, command: list[str], **kwargs: Any) -> None:
        name = command[2].removeprefix(PREFIX) if command[2].startswith(PREFIX) else ""
        if name in self.doubles:
            command = [*command[:2], self.doubles[name], *command[3:]]
        super().__init__(command, **kwargs)


class SwappedSubprocess:
    """The ``subprocess`` module as the spawner sees it."""

    Popen = SwappedPopen

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)


if __name__ == "__main__":
    main = {"run": run.main, "arm": arm.main}[sys.argv.pop(1)]
    while len(sys.argv) > 2 and sys.argv[1] == "--double":
        process, _, module = sys.argv[2].partition("=")
        SwappedPopen.doubles[process] = module
        del sys.argv[1:3]
    vars(spawn)["subprocess"] = SwappedSubprocess()
    sys.exit(main())
