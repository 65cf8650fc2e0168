"""The configuration of a run: flags, YAML and the run folder's record are the same types."""

from __future__ import annotations

from typing import Literal

import msgspec

from dvla.runtime.errors import ConfigError

Bootstrap = Literal["anchor", "discard"]
Resume = Literal["discard", "anchor"]
SeamMode = Literal["switch", "blend", "ensemble", "rtc"]
GuideFade = Literal["published", "aged"]


def _require(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    """Raise a ConfigError when a value lies outside its bounds."""
    if not low <= value <= high:
        raise ConfigError(
            f"{name} is out of bounds", got=f"{value}{unit}", expected=f"{low} to {high}{unit}"
        )


class SchedulerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The switches of Continuous Inference and Latent-aware Action Streaming."""

    ci: bool = True
    """Continuous inference: the next inference starts as soon as the previous one ends."""
    laas: bool = True
    """Latent-aware action streaming: drop stale actions; the newest observation wins."""
    bootstrap: Bootstrap = "anchor"
    """First chunk after a start or a commanded hold: anchor at its arrival, or discard stale."""
    resume: Resume = "discard"
    """First chunk after an underrun: discard stale actions, or anchor at its arrival."""
    seam: SeamMode = "switch"
    """How one chunk takes over from another: switch at once; blend over --blend-steps; ensemble
    averages all chunks that cover an instant (--laas; others switch); rtc guides the sampling of a
    chunk by the previous one (a network with --laas; others switch)."""
    blend_steps: int = 4
    """Steps of the cross-fade of --seam blend."""
    ensemble_decay: float = 0.01
    """Of the weight from an older chunk to the next newer one in --seam ensemble."""
    guide: GuideFade = "published"
    """How the guide of --seam rtc fades: as published; aged, faster the older what it saw is."""
    lead_s: float = 0.0
    """Shift of the whole timeline towards earlier execution [s]."""

    def __post_init__(self) -> None:
        _require("blend_steps", self.blend_steps, 1, 20)
        _require("ensemble_decay", self.ensemble_decay, 0.0, 10.0)
        _require("lead_s", self.lead_s, -0.5, 0.5, " s")
        if self.guide != "published" and self.seam != "rtc":
            raise ConfigError(
                "--guide is of --seam rtc",
                got=f"--guide {self.guide} with --seam {self.seam}",
                next_command="--seam rtc --guide aged, or leave --guide out",
            )


class ServoConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The servo process: its rate and how much future each command carries."""

    rate_hz: int = 250
    """Commands per second to the arm controller."""
    horizon_s: float = 0.1
    """Future setpoints carried by each command [s]."""

    def __post_init__(self) -> None:
        _require("rate_hz", self.rate_hz, 60, 1000, " Hz")
        _require("horizon_s", self.horizon_s, 0.01, 0.25, " s")

    @property
    def period_ns(self) -> int:
        """Spacing of the commands [ns]."""
        return 1_000_000_000 // self.rate_hz

    @property
    def horizon_steps(self) -> int:
        """Setpoints per command."""
        return max(1, round(self.horizon_s * self.rate_hz))
