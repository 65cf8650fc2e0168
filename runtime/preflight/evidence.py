"""Evidence: everything that the checks judge by, gathered once, as plain values."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.engines.manifest import Normalisation
from dvla.runtime.limits import ArmLimits
from dvla.runtime.percentiles import Percentiles

Float64 = NDArray[np.float64]


class CameraEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What one camera delivered while somebody watched.

    Attributes:
        name: image feature.
        wanted: (height, width) that the policy takes; found: that the frames have.
        frames: newest frame number; looked: pictures that were looked at.
        distinct: how many of those differed from the one before.
        frame_hz: frames per second over the watch.
        mean / deviation: of all pixels, over the pictures [0, 255].
        noisy: a live picture never repeats; those of a twin at rest do.
        likeness: correlation with the reference picture of every role; empty without references.
    """

    name: str
    wanted: tuple[int, int]
    found: tuple[int, int]
    frames: int
    looked: int
    distinct: int
    frame_hz: float
    mean: float
    deviation: float
    noisy: bool = True
    likeness: dict[str, float] = {}


class BundleEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the bundle says of itself, and whether its engine and tokenizer are the right ones.

    Attributes:
        engine_problem / tokenizer_problem: why they may not be used; empty when they may.
        engine: backend and precision, for people.
    """

    name: str
    normalisation: Normalisation
    delta_columns: int
    engine: str = ""
    engine_problem: str = ""
    tokenizer_problem: str = ""
    judged_on: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one shadow run, and of the host.

    Attributes:
        states: (n, 6) observed states [m, rad], rx and rz in [0, 2 pi).
        quaternions: (n, 4) measured attitudes, from which the states were made.
        first_steps_m: (c,) distance from the state to the first action of each chunk [m].
        first_turns_rad: (c,) the same for attitude.
        offsets: (c, 3) first action minus state [m]; of a delta policy what the network gave.
        start_pose: (6,) where the policy is to start; empty: where the arm stands.
        chunk_s: H * T; delay_s: from observation to the chunk's arrival.
        accepted / rejected: commands judged by the gate.
        lateness_s: of the servo; servo_period_s: its period; overruns of ticks.
        realtime: what processes were granted, in words, by name.
        arm_mode / arm_reason: the last that the arm reported.
        free_bytes: on the disk of the run folder; wanted_bytes: what the next run may need.
        clock_bound_s: how far the arm's clock may be off before the next answer; 0 on one host.
        overrides: widened limits: name -> seconds left, negative when expired.
        control_s: how long there was something to see.
    """

    states: Float64
    quaternions: Float64
    first_steps_m: Float64
    first_turns_rad: Float64
    offsets: Float64
    start_pose: tuple[float, ...]
    chunk_s: float
    period_s: float
    delay_s: Percentiles | None
    accepted: int
    rejected: dict[str, int]
    lateness_s: Percentiles | None
    servo_period_s: float
    overruns: int
    ticks: int
    realtime: dict[str, str]
    arm_mode: str
    arm_reason: str
    limits: ArmLimits
    cameras: tuple[CameraEvidence, ...]
    free_bytes: int
    wanted_bytes: int
    clock_bound_s: float
    bundle: BundleEvidence | None = None
    overrides: dict[str, float] = {}
