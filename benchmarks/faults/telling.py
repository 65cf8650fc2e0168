"""What a run says of a fault, in one sentence: its own last one, or its most telling event."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from dvla.benchmarks.faults.live import WatchedRun

MOST = 220
_ENDINGS = (r"^\S*(?:run|run\.py): (.+)$", r"(The recording ended here[^.]*\.)")


def what_was_said(run: WatchedRun, fault_ns: int) -> str:
    """Return the sentence."""
    return (_ending(run.text) or _event_of(run, fault_ns))[:MOST]


def _ending(text: str) -> str:
    """Return the sentence with which a run ended by itself, or an empty string."""
    for pattern in _ENDINGS:
        found = re.findall(pattern, text, re.MULTILINE)
        if found:
            return re.sub(r" \(pid \d+\)", "", str(found[-1]))
    return ""


def _event_of(run: WatchedRun, fault_ns: int) -> str:
    """Return the most telling event that a run recorded after the fault, in words."""
    folder = run.folder()
    if folder is None or not (folder / "events.jsonl").exists():
        return ""
    best = (0, "")
    for line in (folder / "events.jsonl").read_bytes().splitlines():
        try:
            event = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue  # a full disk ends in half a line
        if event.get("t_ns", 0) >= fault_ns:
            best = max(best, _telling(event), key=lambda pair: pair[0])
    return best[1]


def _telling(event: dict[str, Any]) -> tuple[int, str]:
    """Return how much an event tells of a fault, and its words."""
    reason = str(event.get("reason", ""))
    match event.get("event"):
        case "note" if event.get("source") == "policy":
            return 5, str(event.get("text"))
        case "chunk_discarded" if reason not in ("late", "superseded", "hold"):
            return 4, f"chunks discarded: {reason}"
        case "command_rejected":
            return 3, f"command rejected: {reason} {event.get('detail', '')}".strip()
        case "arm_mode" if event.get("mode") == "stopping" and not reason.startswith("hold"):
            return 2, f"arm stops: {reason}"
        case "scheduler_state" if event.get("state") == "underrun":
            return 1, "the stream ran dry"
    return 0, ""
