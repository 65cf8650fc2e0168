"""Overrides of limits: by name, for a time, for a reason that is written down.

A limit cannot be set beyond its bound; an override may, for minutes, and to twice the bound at
most. It is noted when it begins and when it ends; when it ends the arm stops, and goes on with the
limits that it had.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dvla.runtime.errors import ConfigError
from dvla.runtime.limit_bounds import CARTESIAN_BOUNDS, SCALAR_BOUNDS, check_limits
from dvla.runtime.limits import ArmLimits

MAX_DURATION_S = 600.0
FACTOR = 2.0
"""Of a limit's own bound; what lies beyond is no wish."""
FORM = "NAME=VALUE:SECONDS:REASON"

NAMES = (*(f"envelope.{name}" for name in CARTESIAN_BOUNDS), *SCALAR_BOUNDS)


class SafetyOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One limit with another value for a while.

    Attributes:
        name: of the limit, one of ``NAMES``.
        value: instead of the shipped one.
        duration_s: from the start of the arm controller.
        reason: for people, recorded.
    """

    name: str
    value: float
    duration_s: float
    reason: str

    def check(self) -> None:
        """Raise a ConfigError unless it is bounded itself."""
        if self.name not in NAMES:
            raise ConfigError("an override names no limit", got=repr(self.name), choices=NAMES)
        low, high, unit = {**CARTESIAN_BOUNDS, **SCALAR_BOUNDS}[self.name.split(".")[-1]]
        # Written so that NaN fails as well.
        if not low <= self.value <= FACTOR * high:
            raise ConfigError(
                f"the override of {self.name} is out of bounds",
                got=str(self.value),
                expected=f"{low:g} to {FACTOR * high:g} {unit}",
            )
        if not 0.0 < self.duration_s <= MAX_DURATION_S:
            raise ConfigError(
                f"the override of {self.name} has no end in sight",
                got=f"{self.duration_s:g} s",
                expected=f"more than 0, at most {MAX_DURATION_S:g} s",
            )
        if not self.reason.strip():
            raise ConfigError(f"the override of {self.name} gives no reason", expected=FORM)

    @property
    def text(self) -> str:
        """The override, in words."""
        return f"{self.name} is {self.value:g} for {self.duration_s:g} s: {self.reason}"


def parse_override(text: str) -> SafetyOverride:
    """Read ``NAME=VALUE:SECONDS:REASON``.

    Raises:
        ConfigError: it is not that, or out of bounds.
    """
    name, _, rest = text.partition("=")
    value, _, rest = rest.partition(":")
    seconds, _, reason = rest.partition(":")
    try:
        override = SafetyOverride(
            name=name.strip(), value=float(value), duration_s=float(seconds), reason=reason.strip()
        )
    except ValueError as error:
        raise ConfigError(
            "--override cannot be read",
            got=repr(text),
            expected=f"{FORM}, as in envelope.linear_velocity=0.9:120:measuring the stop",
        ) from error
    override.check()
    return override


def overridden(limits: ArmLimits, overrides: Iterable[SafetyOverride]) -> ArmLimits:
    """Return limits with overrides in force.

    Raises:
        ConfigError: the limits or an override are out of their bounds.
    """
    check_limits(limits)
    for override in overrides:
        override.check()
        group, _, name = override.name.rpartition(".")
        if group:
            envelope = msgspec.structs.replace(limits.envelope, **{name: override.value})
            limits = msgspec.structs.replace(limits, envelope=envelope)
        else:
            limits = msgspec.structs.replace(limits, **{name: override.value})
    return limits
