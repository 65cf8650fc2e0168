"""The servo's tick record: fixed bytes in a shared ring that the recorder reads."""

from __future__ import annotations

import numpy as np

SERVO_TICK = np.dtype(
    [
        ("t_ns", "<i8"),  # when the first setpoint of the command is due
        ("lateness_ns", "<i8"),  # waking minus deadline
        ("busy_ns", "<i8"),  # waking to command sent
        ("t_obs_ns", "<i8"),  # capture time behind the setpoint, 0 when idle
        ("chunk_id", "<i8"),  # sequence of the chunk behind it, -1 when idle
        ("timeline", "<i8"),  # sequence of the published timeline
        ("underruns", "<i8"),  # running counts
        ("overruns", "<i8"),
        ("saturated", "<i8"),
        ("sent", "<i8"),
        ("status", "<i4"),  # dvla.bindings.PlanStatus
        ("saturation", "<i4"),  # bits of this tick
        ("setpoint", "<f8", (8,)),  # dispatched, due at t_ns
        ("deadline_ns", "<i8"),  # of the tick; with the next field, all that a replay needs
        ("state_sequence", "<i8"),  # of the arm state that the tick went by, 0 for none
        ("taken_back", "<i8"),  # running count: plans, after a refusal (``dvla.runtime.way_back``)
        ("state_t_ns", "<i8"),  # its time as the servo knew it, 0 for none
    ]
)
"""One row per servo tick; rings hold ``SERVO_RING_SLOTS`` of them."""

SERVO_RING_SLOTS = 12_288
"""12 s at 1 kHz: a recorder that comes back before it counts as stalled has missed nothing."""
