"""The colours of the report: one meaning, one colour, everywhere on the page."""

from __future__ import annotations

INFERENCE = "#7aa2e3"
EXECUTED = "#2f9e6e"
STALE = "#c3c9d2"
OVERRIDDEN = "#f0b458"
CLEARED = "#b79ad6"
PENDING = "#e6e9ee"
COMMANDED = "#2b6cb0"
REACHED = "#dd6b20"
NEUTRAL = "#64748b"
ALARM = "#d64545"

STATES = {
    "running": "#bfe3d2",
    "follow": "#bfe3d2",
    "bootstrap": "#dbe4f3",
    "idle": "#e6e9ee",
    "hold": "#f7dfae",
    "stopping": "#f4b9a0",
    "underrun": "#eb8f8f",
    "too_slow": "#cfa5dd",
    "fault": "#d64545",
    "shutdown": "#c3c9d2",
}
"""Bands of scheduler states and arm modes; anything else is grey."""
