"""Emulated arms for the tests of the PiPER's driver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from piper_rig import MakeRig, PiperRig


@pytest.fixture
def make_rig() -> Iterator[MakeRig]:
    """Make rigs, and check on the way out what must hold of every arm."""
    from piper_rig import PiperRig

    rigs: list[PiperRig] = []

    def make(**options: object) -> PiperRig:
        rigs.append(PiperRig(**options))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()
        rig.assert_harmless()
