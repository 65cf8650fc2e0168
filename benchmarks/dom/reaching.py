"""A tiny network that moves smoothly: what seams are measured with where no trained policy is.

Its every chunk approaches one of many goals around a middle, drawn anew by the noise of each
inference, as a policy does that sees several ways to go on. So two chunks seldom agree, which is
what seams suffer from. Only the action expert is trained, for about a minute; cameras see nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from dvla.export.build import ExportOptions, export_bundle
from dvla.export.checkpoint import build_policy, load_checkpoint, save_checkpoint
from dvla.export.progress import Progress
from dvla.export.synthetic import synthetic_checkpoint

MIDDLE_M = (0.42, 0.0, 0.35)
SPREAD_M = 0.04
"""Standard deviation of the goals, and of the states in training, around the middle."""
TURN_RAD = 0.03
"""Standard deviation of the rotation that a chunk ends with."""
APPROACH_S = 0.4
"""Time constant of the approach; the motion begins at rest."""
PERIOD_S = 0.04
BATCH = 64
STATES = 8


def make_bundle(folder: Path, steps: int, seed: int = 0, say: Callable[[str], object] = print):  # type: ignore[no-untyped-def]
    raise NotImplementedError
