"""What a replay found: per stage, how many decisions were compared and the first that differs."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np


class Difference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first decision that came out otherwise.

    Attributes:
        index: of the decision within its stage, from 0.
        t_ns: when the run made it.
        what: the field that differs.
        recorded / replayed: its values, in words.
    """

    index: int
    t_ns: int
    what: str
    recorded: str
    replayed: str


class StageResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage: scheduler, servo or gate.

    Attributes:
        compared: decisions that were compared until the end or the first difference.
        missing: why the stage could not be replayed to its end, or empty.
        cut_off: whether it ends where the recording was cut off, by a kill or a full disk.
        left_out: why such a run does not record this stage, or empty.
    """

    stage: str
    compared: int
    difference: Difference | None = None
    missing: str = ""
    cut_off: bool = False
    left_out: str = ""

    @property
    def equal(self) -> bool:
        """Whether every recorded decision came out again."""
        return self.difference is None and not self.missing


def same(a: Any, b: Any) -> bool:
    """Whether two values are bit-equal; NaN equals NaN, 0.0 is not -0.0."""
    if isinstance(a, float) or isinstance(b, float):
        if np.isnan(a) and np.isnan(b):
            return True
        return bool(np.float64(a).tobytes() == np.float64(b).tobytes())
    return bool(a == b)


def first_difference(
    recorded: np.void, replayed: np.void, fields: tuple[str, ...], index: int, t_ns: int
) -> Difference | None:
    """Return the first field in which two rows differ, bit for bit."""
    for name in fields:
        ours, theirs = np.asarray(recorded[name]), np.asarray(replayed[name])
        if ours.tobytes() != theirs.tobytes():
            return Difference(
                index=index, t_ns=t_ns, what=name, recorded=str(ours), replayed=str(theirs)
            )
    return None
