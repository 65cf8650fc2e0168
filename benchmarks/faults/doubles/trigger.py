"""When a double begins to misbehave: as soon as a file exists, which the campaign makes."""

from __future__ import annotations

import os
from pathlib import Path

KIND = "DVLA_FAULT_KIND"
FILE = "DVLA_FAULT_FILE"


class Trigger:
    """The fault that this double was asked for, and whether its time has come."""

    def __init__(self) -> None:
        self.kind = os.environ.get(KIND, "")
        self._file = Path(os.environ.get(FILE, "/nonexistent"))
        self._pulled = False

    @property
    def pulled(self) -> bool:
        """Whether the fault is on."""
        self._pulled = self._pulled or self._file.exists()
        return self._pulled
