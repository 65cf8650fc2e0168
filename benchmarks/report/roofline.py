"""The floor of a part on a device, and what keeps the part from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from dvla.benchmarks.report.schema import (
    DENOISE,
    END_TO_END,
    PARTS,
    PREFIX,
    VISION,
    VISION_PREFIX,
    Device,
    LatencyResult,
    SubjectResult,
    Work,
)

Bound = Literal["memory", "compute", "overhead"]
NEAR_FLOOR = 0.5
"""A part that takes more than twice its floor is held up by neither memory nor arithmetic."""


class PartFloor(msgspec.Struct, frozen=True, kw_only=True):
    """One part of one subject against the device's floor.

    Attributes:
        measured_s: median; compute_s / memory_s: what arithmetic and weights take at best.
        floor_s: the larger of the two; over parts, their sum.
        floor_share: floor over measured, at most 1 on an honest probe.
        bound: which of the two floors is the higher one, or "overhead" far from both: activations,
            launches, and what does not multiply.
        flops_per_byte / flops_per_s: where the part lies in the roofline.
    """

    subject: str
    part: str
    measured_s: float
    compute_s: float
    memory_s: float
    floor_s: float
    floor_share: float
    bound: Bound
    flops_per_byte: float
    flops_per_s: float


def peak_flops(device: Device, precision: str) -> float:
    """Return the device's rate for a precision; parts of several may use the fastest of them."""
    rates = [
        device.flops_per_s[name] for name in precision.split("+") if name in device.flops_per_s
    ]
    return max(rates, default=device.flops_per_s["fp32"])


def bytes_read(work: Work, device: Device) -> int:
    """Return the weight bytes that must come from memory: once each where all fit the cache."""
    fits = work.weight_bytes <= device.cache_bytes
    return work.weight_bytes if fits else work.weight_bytes_read


def part_floors(result: LatencyResult, device: Device) -> list[PartFloor]:
    """Return the floors of every subject's parts, in the order of the model."""
    return [floor for subject in result.subjects for floor in subject_floors(subject, device)]


def subject_floors(subject: SubjectResult, device: Device) -> Iterator[PartFloor]:
    """Yield the floor of each part that was both timed and counted."""
    for part in PARTS:
        if part not in subject.timings or part not in subject.work:
            continue
        pieces = [subject.work[piece] for piece in _pieces(part, subject.work)]
        rate = peak_flops(device, subject.precision)
        times = [
            (piece.flops / rate, bytes_read(piece, device) / device.bandwidth_bytes_per_s)
            for piece in pieces
        ]
        compute_s, memory_s = (sum(column) for column in zip(*times, strict=True))
        floor_s = sum(max(pair) for pair in times)
        measured_s = subject.timings[part].spread_s.p50
        flops = subject.work[part].flops
        yield PartFloor(
            subject=subject.name,
            part=part,
            measured_s=measured_s,
            compute_s=compute_s,
            memory_s=memory_s,
            floor_s=floor_s,
            floor_share=floor_s / measured_s,
            bound=_bound(compute_s, memory_s, floor_s / measured_s),
            flops_per_byte=flops / max(1, sum(bytes_read(piece, device) for piece in pieces)),
            flops_per_s=flops / measured_s,
        )


def _pieces(part: str, known: dict[str, Work]) -> list[str]:
    """Return the finest parts whose floors add up to a part's."""
    if part == END_TO_END and DENOISE in known:
        return [*_pieces(VISION_PREFIX, known), DENOISE]
    if part == VISION_PREFIX and VISION in known and PREFIX in known:
        return [VISION, PREFIX]
    return [part]


def _bound(compute_s: float, memory_s: float, share: float) -> Bound:
    if share < NEAR_FLOOR:
        return "overhead"
    return "memory" if memory_s > compute_s else "compute"
